// The weights and inputs of the golden cases, rebuilt from the formula in ../shared/golden/README.md.
import type { Network } from '../../lib/model/graph.ts'
import { type Parameter, parametersOf } from '../../lib/model/parameters.ts'
import type { Shape } from '../../lib/model/plan.ts'
import { resnet } from '../../lib/model/resnet.ts'
import type { WeightSource } from '../../lib/weights/source.ts'

export interface GoldenCase {
  readonly layers: number
  readonly classes: number
  readonly n: number
  readonly size: number
  readonly width?: number
  readonly stride?: 'v1'
  readonly groups?: number
  readonly params: number
  readonly pooled_mean: number[]
  readonly logits: number[][]
}

const inputTensor = 9999

/** Number `i` of tensor `t`, in [-0.5, 0.5). */
function golden(t: number, i: number): number {
  let x = Math.imul(i + 1, 0x9e3779b1) ^ Math.imul(t + 1, 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d)
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b)
  return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32 - 0.5
}

export function goldenNetwork(golden: GoldenCase): Network {
  // The golden ResNeXt is 32x4d: its inner widths are doubled.
  const resnext = golden.groups ? { groups: golden.groups, widthPerGroup: 4 } : {}
  return resnet({
    layers: golden.layers,
    classes: golden.classes,
    stride: golden.stride ?? 'v1.5',
    ...resnext,
  })
}

export function goldenWeights(network: Network): WeightSource {
  const parameters = parametersOf(network)
  const order = new Map(parameters.map((parameter, t) => [parameter.name, { parameter, t }]))
  return {
    description: 'the golden formula',
    names: () => order.keys(),
    shape: name => order.get(name)?.parameter.shape,
    read: async name => {
      const { parameter, t } = order.get(name)!
      const length = parameter.shape.reduce((a, b) => a * b, 1)
      const value = valueFrom(parameter)
      return Float32Array.from({ length }, (_, i) => value(golden(t, i)))
    },
  }
}

function valueFrom({ name, role, shape }: Parameter): (u: number) => number {
  switch (role) {
    case 'convWeight':
      return u => u * 2 * Math.sqrt(6 / (shape[1]! * shape[2]! * shape[3]!))
    case 'linearWeight':
      return u => (u * 2) / Math.sqrt(shape[1]!)
    case 'bnWeight':
      return /bn3|downsample\.1/.test(name) ? u => 0.5 + 0.2 * u : u => 0.9 + 0.2 * u
    case 'bnVar':
      return u => 1 + 0.5 * u
    default:
      return u => 0.2 * u
  }
}

/** The case's input `[N,H,W,3]`. */
export function goldenInput({ n, size: height, width = height }: GoldenCase): Float32Array {
  return goldenImages(n, { height, width, channels: 3 })
}

/** The formula's input tensor `[N,C,H,W]`, turned to `[N,H,W,C]`. */
export function goldenImages(n: number, { height, width, channels }: Shape): Float32Array {
  const input = new Float32Array(n * height * width * channels)
  let i = 0
  for (let image = 0; image < n; image++) {
    for (let c = 0; c < channels; c++) {
      for (let pixel = 0; pixel < height * width; pixel++) {
        input[(image * height * width + pixel) * channels + c] = 4 * golden(inputTensor, i++)
      }
    }
  }
  return input
}

/** ‖actual - expected‖ / ‖expected‖ */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY
  let difference = 0
  let norm = 0
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2
    norm += expected[i]! ** 2
  }
  return Math.sqrt(difference / norm)
}
