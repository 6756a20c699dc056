import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { types } from 'node:util'
import { expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { createSession, load, ResidualError } from '../../lib/index.ts'
import { tinyBytes, tinyInput, tinyPlan, tinyWeights } from '../support/tiny.ts'

// Here what the addon returns is no Float32Array and what it throws no Error, by `instanceof`.

it('is a realm of its own', () => {
  expect(Object.getPrototypeOf(process.versions) === Object.prototype).toBe(false)
})

it('takes arrays of this realm and of Node’s', async () => {
  const session = await createSession(tinyPlan, tinyWeights, { device: 'cpu' })
  const { logits } = await session.run(tinyBytes(2))
  expect(types.isFloat32Array(logits)).toBe(true)
  expect(logits instanceof Float32Array).toBe(false)
  expect([...(await session.run(Buffer.from(tinyBytes(2)))).logits]).toEqual([...logits])
  expect((await session.run(tinyInput(1))).logits).toHaveLength(4)
  await session.dispose()
})

it('classifies an image', async () => {
  const classifier = await load('resnet50-cifar10', { device: 'cpu' })
  const image = readFileSync(join(packageRoot, 'samples', 'ship.jpg'))
  for (const [best] of await classifier.classify([image, Uint8Array.from(image)]))
    expect(best!.label).toBe('ship')
  await classifier.close()
})

it('throws recognisable errors', async () => {
  const session = await createSession(tinyPlan, tinyWeights, { device: 'cpu' })
  await session.dispose()
  await expect(session.run(tinyBytes(1))).rejects.toBeInstanceOf(ResidualError)
  const ops = tinyPlan.ops.map((op, i) => (i === 1 ? { ...op, src: 99 } : op))
  const refused = await createSession({ ...tinyPlan, ops }, tinyWeights).catch(error => error) // of the addon
  expect(refused).toBeInstanceOf(ResidualError)
  expect(refused.code).toBe('PLAN_INVALID')
})
