// Temporary folders, seeded random numbers and safetensors bytes for tests.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'

/** A new folder, removed after the test file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'residual-test-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Uniform numbers in [0, 1), the same for the same seed: mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The bytes of a safetensors file: `header` as JSON or as it is, its length in front (or the one given), `data` behind. */
export function safetensors(header: unknown, data: ArrayLike<number> = [], claimed?: bigint): Buffer {
  const text = header instanceof Uint8Array ? header : Buffer.from(asJson(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(claimed ?? BigInt(text.length))
  return Buffer.concat([length, text, Uint8Array.from(data)])
}

const asJson = (header: unknown) => (typeof header === 'string' ? header : JSON.stringify(header))
