// Checkpoints of a small ResNet-18 with known logits: its classifier multiplies by 0 and adds them.
import { initialise, parametersOf, resnet, type WeightSource } from '../../lib/index.ts'

/** Of images, cropped from any. */
export const side = 32

export const smallPreprocessing = {
  steps: [{ resize: { height: side, width: side } }],
  interpolation: 'bilinear',
  mean: [0.5, 0.5, 0.5],
  std: [0.25, 0.25, 0.25],
} as const

/** What `saveModel` takes, of a network that gives these logits for every image. */
export function withLogits(logits: readonly number[]) {
  const architecture = { layers: 18, classes: logits.length, width: 1 / 16 }
  const random = initialise(parametersOf(resnet(architecture)), 1)
  const weights: WeightSource = {
    ...random,
    read: async name => {
      if (name === 'fc.bias') return Float32Array.from(logits)
      const values = await random.read(name)
      return name === 'fc.weight' ? values.fill(0) : values
    },
  }
  return { architecture, weights, preprocessing: smallPreprocessing }
}
