import { expect, it } from 'vitest'
import { createSession, fromTensors, type Tensor } from '../../lib/index.ts'
import { tinyPlan, tinyWeights } from '../support/tiny.ts'

/** The tiny network's weights with one tensor changed. */
async function changed(name: string, change: (tensor: Tensor) => Tensor) {
  const tensors = new Map<string, Tensor>()
  for (const each of tinyWeights.names()) {
    tensors.set(each, { shape: tinyWeights.shape(each)!, data: await tinyWeights.read(each) })
  }
  return fromTensors(tensors.set(name, change(tensors.get(name)!)), 'the test')
}

it.each(['block.conv1.weight', 'block.bn2.running_var', 'fc.weight', 'fc.bias'])(
  'refuses a tensor of the wrong size by name: %s',
  async name => {
    const weights = await changed(name, () => ({ shape: [5], data: new Float32Array(5) }))
    await expect(createSession(tinyPlan, weights)).rejects.toMatchObject({
      code: 'CHECKPOINT_MISMATCH',
      message: expect.stringContaining(`'${name}' of the test has 5 values`),
    })
  },
)

it('says which convolution a batch normalisation fails in', async () => {
  const weights = await changed('block.bn2.running_var', ({ shape, data }) => ({
    shape,
    data: data.fill(-1),
  }))
  await expect(createSession(tinyPlan, weights)).rejects.toMatchObject({
    code: 'NON_FINITE',
    message: expect.stringMatching(/'block\.conv2' of the test: .*channel 0 .*variance is -1/),
  })
})

it('refuses tensors whose data is not as long as their shape says', () => {
  const tensors = new Map([['t', { shape: [2, 3], data: new Float32Array(5) }]])
  expect(() => fromTensors(tensors)).toThrow("Expected 6 values for the data of 't' but received 5")
})
