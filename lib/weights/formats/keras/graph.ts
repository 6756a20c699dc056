// What a Keras model computes besides its weighted layers: what preprocessing can express, and what no ResNet has.
import type { Architecture } from '../../../model/architecture.ts'
import { field, type KerasLayer, layersOf } from './config.ts'
import { constantOf, inputOf, type ModelInput } from './input.ts'

export interface KerasFacts {
  readonly architecture: Pick<Architecture, 'stride' | 'epsilon'>
  /** Undefined if the model does not prepare images itself. */
  readonly input?: ModelInput
  /** Why it is not a supported ResNet: continues a sentence after its name. */
  readonly problem?: string
}

/** The layers of a ResNet, and those without effect outside of training. */
const known = new Set([
  ...['Conv2D', 'BatchNormalization', 'ReLU', 'MaxPooling2D', 'ZeroPadding2D', 'Add', 'InputLayer'],
  ...['GlobalAveragePooling2D', 'Flatten', 'Dense', 'Softmax', 'Activation', 'Identity'],
  ...['Dropout', 'SpatialDropout2D', 'GaussianDropout', 'GaussianNoise', 'ActivityRegularization'],
])

/** Keras' last pool until 2018: what remains of images of 224x224. */
const lastPool = '7,7'

const mostLayers = 20_000

/** The facts in a model's configuration; none if it is something else. */
export function kerasFacts(model: unknown): KerasFacts {
  const layers = [...flattened(model, { left: mostLayers })]
  try {
    return factsOf(layers)
  } catch (error) {
    if (error instanceof Refusal) return { architecture: {}, problem: error.message }
    throw error
  }
}

class Refusal extends Error {}

function factsOf(layers: readonly KerasLayer[]): KerasFacts {
  const first = layers.findIndex(({ className }) => className === 'Conv2D')
  if (first < 0) return { architecture: {} } // its tensors decide what it is
  const input = inputOf(layers.slice(0, first), layer => {
    throw refused(layer, 'prepares images in an unsupported way. Save the model without it')
  })
  const epsilons = new Set<unknown>()
  for (const [i, layer] of layers.slice(first).entries()) {
    check(layer, first + i === layers.length - 1)
    if (layer.className === 'BatchNormalization') epsilons.add(layer.config.epsilon)
  }
  if (epsilons.size > 1) throw new Refusal(`its batch norms have the epsilons ${[...epsilons].join(' and ')}`)
  const [epsilon] = epsilons
  const stride = strideOf(layers)
  return {
    architecture: { ...(typeof epsilon === 'number' && { epsilon }), ...(stride && { stride }) },
    ...(input && { input }),
  }
}

/** @throws Refusal for a layer that no ResNet has after its first convolution. The last layer may have the model's activation */
function check(layer: KerasLayer, isLast: boolean): void {
  const { className, config } = layer
  const pools = className === 'AveragePooling2D' && `${config.pool_size}` === lastPool
  if (!known.has(className) && !pools) throw refused(layer, 'does not occur in a ResNet')
  if (constantOf(layer) !== undefined) throw refused(layer, 'uses a constant operand')
  const { activation = 'linear' } = config
  const isInner = className === 'Conv2D' || (className === 'Activation' && !isLast)
  if (isInner && activation !== 'relu' && !(className === 'Conv2D' && activation === 'linear'))
    throw refused(layer, `has the unsupported activation ${JSON.stringify(activation).slice(0, 60)}`)
  const { dilation_rate: dilation = [1, 1] } = config
  if (className === 'Conv2D' && `${dilation}` !== '1,1') throw refused(layer, `is dilated by ${dilation}`)
  const { negative_slope: slope, max_value: most, threshold } = config
  if (className === 'ReLU' && (slope || typeof most === 'number' || threshold))
    throw refused(layer, 'is a bounded or leaky ReLU')
}

function refused({ className, name }: KerasLayer, what: string): Refusal {
  return new Refusal(`its layer '${name.slice(0, 100)}' (${className.slice(0, 100)}) ${what}`)
}

/** Layers in the order of the configuration, with models replaced by their layers. */
function* flattened(model: unknown, budget: { left: number }): Generator<KerasLayer> {
  for (const layer of layersOf(model)) {
    if (budget.left-- <= 0) return
    if (Array.isArray(layer.config.layers)) yield* flattened({ config: layer.config }, budget)
    else yield layer
  }
}

/** Where the first block of the second stage has its stride, under either of Keras' naming schemes. */
function strideOf(layers: readonly KerasLayer[]): Architecture['stride'] {
  const stepOf = (pattern: RegExp) => {
    const strides = field(layers.find(({ name }) => pattern.test(name))?.config, 'strides')
    return Array.isArray(strides) ? strides[0] : undefined
  }
  if (stepOf(/^(conv3_block1_1_conv|res3a_branch2a)$/) === 2) return 'v1'
  return stepOf(/^(conv3_block1_2_conv|res3a_branch2b)$/) === 2 ? 'v1.5' : undefined
}
