// Tensors as a framework reports them, which one of its files must contain.
import { expect } from 'vitest'
import type { Checkpoint } from '../../lib/weights/checkpoint/checkpoint.ts'

export type Expected = readonly (readonly [name: string, shape: readonly number[], floating: boolean])[]

/** Compares every number with `numbers`, float32 one tensor after another, to the bit; integers only by their shapes. */
export async function expectTensors(file: Checkpoint, expected: Expected, numbers: Buffer): Promise<void> {
  expect([...file.tensors.keys()].sort()).toEqual(expected.map(([name]) => name).sort())
  let at = 0
  for (const [name, shape, floating] of expected) {
    const info = file.tensors.get(name)!
    expect([name, info.shape]).toEqual([name, shape])
    const bytes = info.length * 4
    if (floating) {
      const values = await file.read(name)
      const same = Buffer.from(values.buffer).equals(numbers.subarray(at, at + bytes))
      expect(same, `the numbers of ${name}`).toBe(true)
    }
    at += bytes
  }
  expect(at).toBe(numbers.length)
}
