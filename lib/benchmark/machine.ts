// The machine a benchmark ran on. Every report names it.
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import type { Engine } from './engine.ts'

export interface Machine {
  readonly cpu: string
  /** Threads the process may use. */
  readonly threads: number
  readonly memoryBytes: number
  readonly system: string
  readonly node: string
}

export function thisMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    threads: availableParallelism(),
    memoryBytes: totalmem(),
    system: `${process.platform} ${process.arch} ${release()}`,
    node: process.version,
  }
}

export function versionsOf(engines: readonly Engine[]): { readonly [engine: string]: string } {
  return Object.fromEntries(engines.map(({ name, version }) => [name, version]))
}

export function machineText(machine: Machine, isa: string): string {
  const { cpu, threads, memoryBytes, system, node } = machine
  return `${cpu}, ${threads} threads, ${(memoryBytes / 2 ** 30).toFixed(0)} GiB, ${isa}, ${system}, node ${node}`
}
