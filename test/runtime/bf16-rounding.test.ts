import { expect, it } from 'vitest'
import type { Plan } from '../../lib/index.ts'
import { loadNative, reducedKernels } from '../../lib/runtime/native.ts'

/** Three numbers, rounded to bf16. */
const shape = { height: 1, width: 1, channels: 3 }
const plan = {
  name: 'rounded',
  values: [shape, { ...shape, precision: 'bf16' }, shape, shape],
  ops: [
    { kind: 'normalize', name: 'normalize', mean: [0, 0, 0], std: [1, 1, 1], dst: 0 },
    { kind: 'convert', name: 'rounded', src: 0, dst: 1 },
    { kind: 'globalAvgPool', name: 'mean', src: 1, dst: 2 },
    { kind: 'linear', name: 'fc', src: 2, dst: 3 },
  ],
  outputs: { logits: 3, features: 2, featureMaps: 1 },
} as object as Plan

it.skipIf(reducedKernels().bf16 === null)('bf16 is the nearest number, of two the even one', async () => {
  const session = new (loadNative().NativeSession)(plan, { threads: 1 })
  const [weight, ones] = [new Uint8Array(3 * 3 * 4), new Float64Array(3).fill(1)]
  await session.loadWeights(3, weight, 'KCRS', 'F32', ones, new Float32Array(3))
  const rounded = async (...numbers: number[]) => [
    ...(await session.run(Float32Array.from(numbers), ['featureMaps'])).featureMaps!,
  ]
  // From 256 on every other integer is one.
  expect(await rounded(257, 259, 258)).toEqual([256, 260, 258])
  expect(await rounded(-257, -259, 257.01)).toEqual([-256, -260, 258])
  expect(await rounded(1 + 2 ** -9, 1 + 3 * 2 ** -9, -0.5)).toEqual([1, 1 + 2 ** -7, -0.5])
  session.dispose()
})
