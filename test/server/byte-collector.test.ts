import { describe, expect, it } from 'vitest'
import { ByteCollector } from '../../lib/server/limits/byte-collector.ts'
import { seeded } from '../support/files.ts'

const random = seeded(5)
const bytes = Buffer.from(Uint8Array.from({ length: 300_000 }, () => random() * 256))

/** Pieces of the bytes, each of `sizes` in turn, that are no part of a larger buffer. */
function pieces(...sizes: number[]): Buffer[] {
  const all: Buffer[] = []
  for (let at = 0, i = 0; at < bytes.length; at += sizes[i++ % sizes.length]!)
    all.push(Buffer.from(new Uint8Array(bytes.subarray(at, at + sizes[i % sizes.length]!))))
  return all
}

describe('a chunked body', () => {
  it.each([
    ['one', [bytes.length]],
    ['large', [100_000, 70_000]],
    ['small', [1]],
    ['all kinds of', [1, 65_535, 65_536, 65_537, 3, 0, 20_000]],
  ])('is reassembled: %s', (_, sizes) => {
    for (const announced of [0, bytes.length, bytes.length + 10, 10, 2 ** 21]) {
      const collector = new ByteCollector(announced)
      for (const part of pieces(...sizes)) collector.add(part)
      expect(collector.length).toBe(bytes.length)
      expect(collector.whole().equals(bytes)).toBe(true)
    }
  })

  it('of no chunks is empty', () => {
    expect(new ByteCollector().whole()).toHaveLength(0)
    expect(new ByteCollector(1000).whole()).toHaveLength(0)
  })

  it('keeps neither a buffer per small chunk nor the memory behind it', () => {
    const slab = Buffer.alloc(65_536)
    const collector = new ByteCollector()
    for (let i = 0; i < 100; i++) {
      const part = slab.subarray(i, i + 1).fill(i)
      collector.add(part)
      part.fill(0)
    }
    expect([...collector.whole()]).toEqual(Array.from({ length: 100 }, (_, i) => i))
  })
})
