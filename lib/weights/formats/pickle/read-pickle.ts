// Reading a pickle as data only.
import { refusedCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import type { ByteSource } from '../../checkpoint/checkpoint-file.ts'
import { PickleInput } from './input.ts'
import { Machine, type Persistent } from './machine.ts'
import { operations, refusedOpcodes } from './operations.ts'
import type { Value } from './values.ts'

export interface Pickle {
  readonly value: Value
  /** Where in the file the pickle ends. */
  readonly end: number
  /** The opcodes executed: no honest structure has more members. */
  readonly work: number
  /** Some of its unknown global names. */
  readonly unknown: readonly string[]
}

/**
 * Reads the pickle between two positions of a file. Nothing from the file is executed; long strings and bytes stay in the file.
 *
 * @throws ResidualError CHECKPOINT_INVALID, FILE_NOT_FOUND
 */
export async function readPickle(
  source: ByteSource,
  persistent: Persistent,
  begin = 0,
  end = source.size,
): Promise<Pickle> {
  const input = new PickleInput(source, begin, end)
  const machine = new Machine(input, persistent)
  while (!machine.stopped) {
    if (!input.ready()) await input.load()
    step(machine)
  }
  return { value: machine.pop(), end: input.position, work: machine.work, unknown: [...machine.unknown] }
}

function step(machine: Machine): void {
  const code = machine.input.uint(1)
  machine.spend(1)
  const operation = operations[code]
  if (operation) {
    operation(machine)
    return
  }
  const name = refusedOpcodes[code]
  if (name === undefined) throw machine.problem(`has the unknown opcode ${code}`)
  throw refusedCheckpoint(
    machine.input.source,
    `its pickle uses the opcode ${name}, which no checkpoint needs; nothing from a file is executed`,
  )
}
