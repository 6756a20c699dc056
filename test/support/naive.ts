// What a network computes, the slow, plain version: layer by layer as the graph says, loops in float64.
import { type Activation, usualActivation } from '../../lib/model/activation.ts'
import type { Layer, Network } from '../../lib/model/graph.ts'
import { elements, type Shape } from '../../lib/model/plan.ts'
import type { WeightSource } from '../../lib/weights/source.ts'

interface Tensor {
  readonly shape: Shape
  readonly data: Float64Array // [N,H,W,C]
}

export interface NaiveOutputs {
  readonly logits: Float64Array
  readonly probabilities: Float64Array
  readonly features?: Float64Array
  readonly featureMaps?: Float64Array
}

/** Runs `network` on images `[N,H,W,C]` that are normalised already. */
export async function runNaively(
  network: Network,
  weights: WeightSource,
  input: ArrayLike<number>,
  shape: Shape,
  activation = usualActivation(network.graph.channels[network.outputs.logits.id]!),
): Promise<NaiveOutputs> {
  const n = input.length / elements(shape)
  const tensors: Tensor[] = []
  for (const [id, layer] of network.graph.layers.entries()) {
    const channels = network.graph.channels[id]!
    tensors.push(
      layer.kind === 'input'
        ? { shape, data: Float64Array.from(input) }
        : await runLayer(layer, tensors, channels, weights, n),
    )
  }
  const outputs = Object.fromEntries(
    Object.entries(network.outputs).map(([name, { id }]) => [name, tensors[id]!.data]),
  ) as { logits: Float64Array }
  return { ...outputs, probabilities: activated(activation, outputs.logits, n) }
}

async function runLayer(
  layer: Exclude<Layer, { kind: 'input' }>,
  tensors: readonly Tensor[],
  channels: number,
  weights: WeightSource,
  n: number,
): Promise<Tensor> {
  const src = tensors[layer.src]!
  switch (layer.kind) {
    case 'conv': {
      const { kernel, groups } = layer
      const weight = await weights.read(`${layer.name}.weight`) // [K,C/g,R,S]
      const inputs = src.shape.channels / groups
      return overWindows(src, layer, channels, n, (k, read) => {
        const group = Math.floor(k / (channels / groups))
        let sum = 0
        for (let c = 0; c < inputs; c++) {
          for (let r = 0; r < kernel; r++) {
            for (let s = 0; s < kernel; s++) {
              sum +=
                weight[((k * inputs + c) * kernel + r) * kernel + s]! * (read(r, s, group * inputs + c) ?? 0)
            }
          }
        }
        return sum
      })
    }
    case 'localAvgPool': {
      const { kernel } = layer
      return overWindows(src, { kernel, stride: kernel, padding: 0 }, channels, n, (c, read) => {
        let sum = 0
        for (let r = 0; r < kernel; r++) for (let s = 0; s < kernel; s++) sum += read(r, s, c)!
        return sum / kernel ** 2
      })
    }
    case 'maxPool':
      return overWindows(src, layer, channels, n, (c, read) => {
        let largest = Number.NEGATIVE_INFINITY
        for (let r = 0; r < layer.kernel; r++) {
          for (let s = 0; s < layer.kernel; s++) largest = Math.max(largest, read(r, s, c) ?? largest)
        }
        return largest
      })
    case 'batchNorm': {
      const [scale, shift, mean, variance] = await Promise.all(
        ['weight', 'bias', 'running_mean', 'running_var'].map(leaf => weights.read(`${layer.name}.${leaf}`)),
      )
      const data = src.data.map((value, i) => {
        const c = i % channels
        return ((value - mean![c]!) / Math.sqrt(variance![c]! + layer.epsilon)) * scale![c]! + shift![c]!
      })
      return { shape: src.shape, data }
    }
    case 'relu':
      return { shape: src.shape, data: src.data.map(value => Math.max(value, 0)) }
    case 'add':
      return { shape: src.shape, data: src.data.map((value, i) => value + tensors[layer.other]!.data[i]!) }
    case 'channelGate': {
      const [gate, perImage] = [tensors[layer.gate]!.data, elements(src.shape)]
      const data = src.data.map(
        (value, i) => value * gate[Math.floor(i / perImage) * channels + (i % channels)]!,
      )
      return { shape: src.shape, data }
    }
    case 'globalAvgPool': {
      const pixels = src.shape.height * src.shape.width
      const data = new Float64Array(n * channels)
      for (const [i, value] of src.data.entries()) {
        data[Math.floor(i / (pixels * channels)) * channels + (i % channels)]! += value / pixels
      }
      return { shape: { height: 1, width: 1, channels }, data }
    }
    case 'linear': {
      const weight = await weights.read(`${layer.name}.weight`)
      const bias = await weights.read(`${layer.name}.bias`)
      const inputs = src.shape.channels
      const data = Float64Array.from({ length: n * channels }, (_, i) => {
        const [image, k] = [Math.floor(i / channels), i % channels]
        let sum = bias[k]!
        for (let c = 0; c < inputs; c++) sum += weight[k * inputs + c]! * src.data[image * inputs + c]!
        return sum
      })
      return { shape: { height: 1, width: 1, channels }, data }
    }
  }
}

/** Calls `value(channel, read)` for every output; `read(r, s, c)` is undefined in the padding. */
function overWindows(
  { shape: { height, width, channels: inputs }, data }: Tensor,
  { kernel, stride, padding }: { kernel: number; stride: number; padding: number },
  channels: number,
  n: number,
  value: (channel: number, read: (r: number, s: number, c: number) => number | undefined) => number,
): Tensor {
  const windows = (extent: number) => Math.floor((extent + 2 * padding - kernel) / stride) + 1
  const shape = { height: windows(height), width: windows(width), channels }
  const result = new Float64Array(n * elements(shape))
  let at = 0
  for (let image = 0; image < n; image++) {
    for (let oy = 0; oy < shape.height; oy++) {
      for (let ox = 0; ox < shape.width; ox++) {
        const read = (r: number, s: number, c: number) => {
          const [y, x] = [oy * stride - padding + r, ox * stride - padding + s]
          const inside = y >= 0 && y < height && x >= 0 && x < width
          return inside ? data[((image * height + y) * width + x) * inputs + c] : undefined
        }
        for (let k = 0; k < channels; k++) result[at++] = value(k, read)
      }
    }
  }
  return { shape, data: result }
}

function activated(activation: Activation, logits: Float64Array, n: number): Float64Array {
  if (activation === 'softmax') return softmax(logits, n)
  return activation === 'sigmoid' ? logits.map(x => 1 / (1 + Math.exp(-x))) : logits
}

function softmax(logits: Float64Array, n: number): Float64Array {
  const classes = logits.length / n
  const result = new Float64Array(logits.length)
  for (let image = 0; image < n; image++) {
    const row = logits.subarray(image * classes, (image + 1) * classes)
    const exps = row.map(value => Math.exp(value - Math.max(...row)))
    const sum = exps.reduce((a, b) => a + b)
    result.set(
      exps.map(value => value / sum),
      image * classes,
    )
  }
  return result
}
