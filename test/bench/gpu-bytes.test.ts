import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { gpuBytes } from '../../lib/benchmark/gpu-bytes.ts'
import { conv, globalAvgPool, input, linear, lower } from '../../lib/index.ts'

const x = conv(input(), { name: 'conv', channels: 8, kernel: 3, padding: 1 })
const logits = linear(globalAvgPool(x), { name: 'fc', classes: 10 })
const plan = lower(
  { name: 'two layers', graph: x.graph, outputs: { logits } },
  { height: 4, width: 6, mean: [0, 0, 0], std: [1, 1, 1] },
)

const [pixels, batch] = [4 * 6, 5]
/** Written out by hand: what is bytes or float32 whatever the precision, and the rest. */
const ofFloats = batch * (pixels * 3 + 10 * 4 + (10 + 10) * 4) + (8 + 10) * 4
const ofNumbers = batch * (pixels * 3 + pixels * (3 + 8) + (pixels * 8 + 8) + 8) + 8 * 27 + 10 * 8

it.each([
  ['fp32', 4],
  ['tf32', 4],
  ['fp16', 2],
  ['bf16', 2],
] as const)('A number in %s is %i bytes', (precision, bytes) => {
  expect(gpuBytes(plan, precision, batch)).toBe(ofFloats + bytes * ofNumbers)
})

it('The benchmark of a GPU counts bytes this way and no other', () => {
  const source = readFileSync(join(packageRoot, 'bench', 'gpu.ts'), 'utf8')
  expect(source).toContain('gpuBytes(plan, precision, batch)')
  expect(source).not.toMatch(/activationBytes|weightBytes/)
})
