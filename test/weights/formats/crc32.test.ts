import { expect, it } from 'vitest'
import { crc32, crc32ByTable } from '../../../lib/weights/formats/crc32.ts'

it.each([crc32, crc32ByTable])('CRC-32 is the published one, also piece by piece', sum => {
  const bytes = Buffer.from('123456789')
  expect(sum(bytes)).toBe(0xcbf43926) // the check value of https://reveng.sourceforge.io/crc-catalogue/17plus.htm
  expect(sum(bytes.subarray(4), sum(bytes.subarray(0, 4)))).toBe(0xcbf43926)
  expect(sum(new Uint8Array(0))).toBe(0)
})
