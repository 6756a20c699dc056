// The input layers of a Keras model, as far as preprocessing can express them.
import { field, type KerasLayer } from './config.ts'

/** `(byte - mean) / std` for each channel, in the order of `channels`. */
export interface ModelInput {
  readonly range: 255
  readonly channels: 'RGB' | 'BGR'
  readonly mean: readonly number[]
  readonly std: readonly number[]
}

/** `factor * byte + offset` of each channel. */
interface Affine {
  readonly factor: readonly number[]
  readonly offset: readonly number[]
}

/** Layers that pass images on outside of training, or that pad on behalf of the first convolution. */
const passing =
  /^(InputLayer|ZeroPadding2D|Identity|\w*Dropout\w*|Gaussian\w+|Random(Flip|Rotation|Zoom|Translation|Contrast|Brightness))$/

const channels = 3
const smallestDeviation = 1e-7 // Keras' epsilon

/**
 * The combined effect of the layers before the first convolution; undefined if they have none.
 *
 * @param refuse throws for an unsupported layer
 */
export function inputOf(
  layers: readonly KerasLayer[],
  refuse: (layer: KerasLayer) => never,
): ModelInput | undefined {
  const picked = new Map<string, number>() // by layer: the channel that it picks from the image
  let known: Affine = { factor: [1, 1, 1], offset: [0, 0, 0] }
  let [turned, touched] = [false, false]
  for (const layer of layers) {
    if (passing.test(layer.className)) continue
    const channel = pickedChannel(layer)
    if (channel !== undefined) {
      picked.set(layer.name, channel)
      continue
    }
    const affine = affineOf(layer)
    if (affine) known = composed(known, affine)
    else if (turnsChannels(layer, picked)) {
      turned = !turned
      known = { factor: known.factor.toReversed(), offset: known.offset.toReversed() }
    } else if (!keepsChannels(layer, picked)) refuse(layer)
    touched = true
    if (known.factor.some(factor => !(factor > 0))) refuse(layer) // an inverted image
  }
  if (!touched) return undefined
  return {
    range: 255,
    channels: turned ? 'BGR' : 'RGB',
    mean: known.factor.map((factor, c) => (known.offset[c] === 0 ? 0 : -known.offset[c]! / factor)),
    std: known.factor.map(factor => 1 / factor),
  }
}

function affineOf(layer: KerasLayer): Affine | undefined {
  const { className, config } = layer
  if (className === 'Rescaling') return affine(perChannel(config.scale), perChannel(config.offset ?? 0))
  if (className === 'Normalization') {
    const [mean, variance] = [perChannel(config.mean), perChannel(config.variance)]
    if (!mean || !variance || config.invert) return undefined // if it was adapted, the numbers are among the weights
    const factor = variance.map(value => 1 / Math.max(Math.sqrt(value), smallestDeviation))
    return affine(factor, mean.map((value, c) => -value * factor[c]!)) // biome-ignore format: short
  }
  const operand = perChannel(constantOf(layer))
  if (!operand) return undefined
  const ones = Array<number>(channels).fill(1)
  const zeros = Array<number>(channels).fill(0)
  if (className === 'Add') return affine(ones, operand)
  if (className === 'Subtract') return affine(ones, operand.map(value => -value)) // biome-ignore format: short
  if (className === 'Multiply') return affine(operand, zeros)
  if (/^(True)?Divide$/.test(className)) return affine(operand.map(value => 1 / value), zeros) // biome-ignore format: short
  return undefined
}

const affine = (factor: number[] | undefined, offset: number[] | undefined): Affine | undefined =>
  factor && offset && { factor, offset }

function composed(first: Affine, second: Affine): Affine {
  return {
    factor: first.factor.map((factor, c) => factor * second.factor[c]!),
    offset: first.offset.map((offset, c) => offset * second.factor[c]! + second.offset[c]!),
  }
}

/** The arguments of an operation in Keras 3. */
function argumentsOf({ inbound }: KerasLayer): readonly unknown[] {
  const args = field(Array.isArray(inbound) && inbound.length === 1 ? inbound[0] : undefined, 'args')
  return Array.isArray(args) ? args : []
}

/** The constant operand of an operation, one number or several. */
export function constantOf(layer: KerasLayer): unknown {
  const [image, operand, ...others] = argumentsOf(layer)
  if (field(image, 'class_name') !== '__keras_tensor__' || others.length > 0) return undefined
  if (typeof operand === 'number') return operand
  return field(operand, 'class_name') === '__tensor__' ? field(field(operand, 'config'), 'value') : undefined
}

/** The channel in `x[..., 2]`. */
function pickedChannel(layer: KerasLayer): number | undefined {
  const index = layer.className === 'GetItem' ? argumentsOf(layer)[1] : undefined
  if (!Array.isArray(index) || index.length !== 2) return undefined
  const [rest, channel] = index
  return field(rest, 'class_name') === '__ellipsis__' && typeof channel === 'number' ? channel : undefined
}

/** `stack([x[..., 2], x[..., 1], x[..., 0]], axis=-1)` */
function turnsChannels(layer: KerasLayer, picked: ReadonlyMap<string, number>): boolean {
  return stacked(layer, picked) === '2,1,0'
}

function keepsChannels(layer: KerasLayer, picked: ReadonlyMap<string, number>): boolean {
  return stacked(layer, picked) === '0,1,2'
}

function stacked(layer: KerasLayer, picked: ReadonlyMap<string, number>): string | undefined {
  const [parts] = layer.className === 'Stack' && layer.config.axis === -1 ? argumentsOf(layer) : []
  if (!Array.isArray(parts)) return undefined
  return parts
    .map(part => field(field(part, 'config'), 'keras_history'))
    .map(history => picked.get(Array.isArray(history) ? history[0] : ''))
    .join()
}

/** A number, or one per channel in nested lists, as one per channel. */
function perChannel(value: unknown): number[] | undefined {
  const values: unknown[] = Array.isArray(value) ? value.flat(8) : [value]
  const numbers = values.length === 1 ? Array<unknown>(channels).fill(values[0]) : values
  const all = numbers.length === channels && numbers.every(each => Number.isFinite(each))
  return all ? (numbers as number[]) : undefined
}
