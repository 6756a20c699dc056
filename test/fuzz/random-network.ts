// Random networks nobody would think of, the same for the same numbers.
import {
  add,
  batchNorm,
  channelGate,
  conv,
  convBN,
  globalAvgPool,
  input,
  linear,
  localAvgPool,
  maxPool,
  type Network,
  relu,
  type Value,
} from '../../lib/index.ts'
import type { Shape } from '../../lib/model/plan.ts'

export interface RandomNetwork {
  readonly network: Network
  readonly shape: Shape
  /** What it is made of, for messages. */
  readonly title: string
}

/** Picks by a generator of numbers in [0, 1). */
export class Picker {
  constructor(readonly random: () => number) {}

  below(count: number): number {
    return Math.floor(this.random() * count)
  }

  from<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!
  }
}

/** Up to `mostLayers` layers on images of up to 15x15. */
export function randomNetwork(random: () => number, mostLayers = 6): RandomNetwork {
  const pick = new Picker(random)
  const shape = { height: 1 + pick.below(15), width: 1 + pick.below(15), channels: 1 + pick.below(40) }
  const steps: string[] = []
  let x = input(shape.channels)
  let size = { height: shape.height, width: shape.width }
  const count = 1 + pick.below(mostLayers)
  for (let i = 0; i < count; i++) {
    const layer = randomLayer(pick, x, size, i)
    steps.push(layer.title)
    x = layer.value
    size = layer.size
  }
  const features = globalAvgPool(x)
  const logits = linear(features, { name: 'fc', classes: 1 + pick.below(20) })
  const network = { name: 'random', graph: x.graph, outputs: { logits, features, featureMaps: x } }
  return { network, shape, title: `${shape.height}x${shape.width}x${shape.channels}: ${steps.join(', ')}` }
}

interface Size {
  readonly height: number
  readonly width: number
}

interface Layer {
  readonly value: Value
  readonly size: Size
  readonly title: string
}

function randomLayer(pick: Picker, x: Value, size: Size, i: number): Layer {
  const kind = pick.from([
    'conv',
    'conv',
    'convBN',
    'convBN',
    'residual',
    'grouped',
    'batchNorm',
    'relu',
    'maxPool',
    'means',
    'channelGate',
  ])
  const windowed = (kernel: number, stride: number, padding: number): Size => ({
    height: Math.floor((size.height + 2 * padding - kernel) / stride) + 1,
    width: Math.floor((size.width + 2 * padding - kernel) / stride) + 1,
  })
  const least = Math.min(size.height, size.width)
  switch (kind) {
    case 'batchNorm':
      return { value: batchNorm(x, { name: `n${i}` }), size, title: kind }
    case 'relu':
      return { value: relu(x), size, title: kind }
    case 'maxPool': {
      const kernel = 1 + pick.below(Math.min(least, 4))
      const options = { kernel, stride: 1 + pick.below(3), padding: pick.below(Math.floor(kernel / 2) + 1) }
      const after = windowed(options.kernel, options.stride, options.padding)
      return { value: maxPool(x, options), size: after, title: `max pool ${JSON.stringify(options)}` }
    }
    case 'means': {
      const kernels = [1, 2, 3, 4, 5].filter(k => size.height % k === 0 && size.width % k === 0)
      const kernel = pick.from(kernels)
      return {
        value: localAvgPool(x, { kernel }),
        size: windowed(kernel, kernel, 0),
        title: `means over ${kernel}`,
      }
    }
    case 'channelGate': {
      const pooled = globalAvgPool(x)
      const options = { names: { conv: `g${i}`, bn: `h${i}` }, channels: x.channels, kernel: 1 }
      const learnt = pick.below(2) === 0
      return {
        value: channelGate(x, learnt ? convBN(pooled, options) : pooled),
        size,
        title: `gate${learnt ? ' learnt' : ''}`,
      }
    }
    case 'residual': {
      const channels = 1 + pick.below(70)
      const other = { kernel: pick.from([1, 3]), channels }
      const left = convBN(x, { names: { conv: `c${i}`, bn: `b${i}` }, kernel: 3, channels, activation: null })
      const right = convBN(x, { names: { conv: `d${i}`, bn: `e${i}` }, ...other })
      return { value: relu(add(left, right)), size, title: `residual ${JSON.stringify(other)}` }
    }
    default: {
      const kernel = pick.from([1, 1, 2, 3, 3, 3, 5])
      const fits = Math.ceil(Math.max(kernel - least, 0) / 2)
      const padding = fits + pick.below(3)
      const divisors = Array.from({ length: x.channels }, (_, d) => d + 1).filter(d => x.channels % d === 0)
      const groups = kind === 'grouped' ? pick.from(divisors) : 1
      const channels = groups * (1 + pick.below(kind === 'grouped' ? 6 : 90))
      const options = { kernel, stride: 1 + pick.below(2), padding, groups, channels }
      const value =
        kind === 'convBN'
          ? convBN(x, { ...options, names: { conv: `c${i}`, bn: `b${i}` } })
          : conv(x, { ...options, name: `c${i}` })
      return {
        value,
        size: windowed(kernel, options.stride, padding),
        title: `${kind} ${JSON.stringify(options)}`,
      }
    }
  }
}
