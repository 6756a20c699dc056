// The layers that networks are made of: functions from values to a value.

import { checkNames, type Names } from '../base/options.ts'
import { checkInteger, outOfRange, wrongType } from '../errors.ts'
import { append, type Graph, type Value } from './graph.ts'

export const defaultEpsilon = 1e-5

/** Begins a graph: images `[N,H,W,channels]`, normalised. */
export function input(channels = 3): Value {
  const graph: Graph = { layers: [], channels: [] }
  return append(graph, { kind: 'input' }, checkInteger('channels', channels, 1))
}

export interface ConvOptions {
  /** The parameter will be `{name}.weight`, `[channels, C/groups, kernel, kernel]`. */
  readonly name: string
  /** Output channels. */
  readonly channels: number
  readonly kernel: number
  readonly stride?: number
  /** On every side; `(kernel - 1) / 2` rounded down unless given. */
  readonly padding?: number
  readonly groups?: number
}

const convNames = {
  name: true,
  channels: true,
  kernel: true,
  stride: true,
  padding: true,
  groups: true,
} as const satisfies Names<ConvOptions>

/** A convolution without bias. */
export function conv(x: Value, options: ConvOptions): Value {
  checkNames(options, convNames)
  const { name, channels, kernel, stride = 1, groups = 1 } = options
  checkInteger(`the channels of '${name}'`, channels, 1)
  checkInteger(`the kernel of '${name}'`, kernel, 1)
  checkInteger(`the stride of '${name}'`, stride, 1)
  checkInteger(`the groups of '${name}'`, groups, 1)
  const padding = checkInteger(`the padding of '${name}'`, options.padding ?? Math.floor((kernel - 1) / 2), 0)
  if (x.channels % groups !== 0 || channels % groups !== 0) {
    throw outOfRange(
      `a divisor of its ${x.channels} and ${channels} channels`,
      `the groups of '${name}'`,
      groups,
    )
  }
  checkUnused(x.graph, name)
  return append(x.graph, { kind: 'conv', name, src: x.id, kernel, stride, padding, groups }, channels)
}

/** Batch normalisation with running statistics; parameters `{name}.{weight,bias,running_mean,running_var}`, `[C]`. */
export function batchNorm(x: Value, options: { readonly name: string; readonly epsilon?: number }): Value {
  checkNames(options, { name: true, epsilon: true })
  const { name, epsilon = defaultEpsilon } = options
  if (!(epsilon >= 0)) throw outOfRange('a number of at least 0', `the epsilon of '${name}'`, epsilon)
  checkUnused(x.graph, name)
  return append(x.graph, { kind: 'batchNorm', name, src: x.id, epsilon }, x.channels)
}

export function relu(x: Value): Value {
  return append(x.graph, { kind: 'relu', src: x.id }, x.channels)
}

/** The sum of two values of one shape. */
export function add(x: Value, other: Value): Value {
  if (x.graph !== other.graph) throw wrongType('a value of the same graph', 'the second summand', other)
  if (x.channels !== other.channels) {
    throw outOfRange(`${x.channels} channels`, 'the second summand', other.channels)
  }
  return append(x.graph, { kind: 'add', src: x.id, other: other.id }, x.channels)
}

/** The maximum over each window; padding never wins. */
export function maxPool(
  x: Value,
  options: { readonly kernel: number; readonly stride?: number; readonly padding?: number },
): Value {
  checkNames(options, { kernel: true, stride: true, padding: true })
  const kernel = checkInteger('the kernel of a max pool', options.kernel, 1)
  const stride = checkInteger('the stride of a max pool', options.stride ?? kernel, 1)
  // More than half a window of padding would leave windows with nothing in them.
  const padding = checkInteger('the padding of a max pool', options.padding ?? 0, 0, Math.floor(kernel / 2))
  return append(x.graph, { kind: 'maxPool', src: x.id, kernel, stride, padding }, x.channels)
}

/**
 * The mean over windows of `kernel` x `kernel` that do not overlap. Heights and widths must be multiples of that. A 1x1 convolution
 * behind it takes it in.
 */
export function localAvgPool(x: Value, options: { readonly kernel: number }): Value {
  checkNames(options, { kernel: true })
  const kernel = checkInteger('the kernel of an average pool', options.kernel, 1)
  return append(x.graph, { kind: 'localAvgPool', src: x.id, kernel }, x.channels)
}

/** The mean over all pixels: `[N,H,W,C]` to `[N,1,1,C]`. */
export function globalAvgPool(x: Value): Value {
  return append(x.graph, { kind: 'globalAvgPool', src: x.id }, x.channels)
}

/** Multiplies each channel of an image by a number of its own: `x`, `[N,H,W,C]`, times `gate`, `[N,1,1,C]`, as in squeeze-and-excitation. */
export function channelGate(x: Value, gate: Value): Value {
  if (x.graph !== gate.graph) throw wrongType('a value of the same graph', 'the gate', gate)
  if (x.channels !== gate.channels) throw outOfRange(`${x.channels} channels`, 'the gate', gate.channels)
  return append(x.graph, { kind: 'channelGate', src: x.id, gate: gate.id }, x.channels)
}

/** A fully connected layer on `[N,1,1,C]`; parameters `{name}.weight`, `[classes, C]`, and `{name}.bias`, `[classes]`. */
export function linear(x: Value, options: { readonly name: string; readonly classes: number }): Value {
  checkNames(options, { name: true, classes: true })
  checkInteger(`the classes of '${options.name}'`, options.classes, 1)
  checkUnused(x.graph, options.name)
  return append(x.graph, { kind: 'linear', name: options.name, src: x.id }, options.classes)
}

export interface ConvBNOptions extends Omit<ConvOptions, 'name'> {
  /** Names of the two layers' parameters. */
  readonly names: { readonly conv: string; readonly bn: string }
  /** Of the batch normalisation. */
  readonly epsilon?: number
  readonly activation?: 'relu' | null
}

const convBNNames = {
  names: true,
  channels: true,
  kernel: true,
  stride: true,
  padding: true,
  groups: true,
  epsilon: true,
  activation: true,
} as const satisfies Names<ConvBNOptions>

/** Convolution, batch normalisation and, unless `activation` is null, ReLU: one operation once lowered. */
export function convBN(x: Value, options: ConvBNOptions): Value {
  checkNames(options, convBNNames)
  const { names, epsilon = defaultEpsilon, activation = 'relu', ...rest } = options
  if (activation !== 'relu' && activation !== null)
    throw outOfRange("'relu' or null", 'activation', activation)
  const normalised = batchNorm(conv(x, { ...rest, name: names.conv }), { name: names.bn, epsilon })
  return activation === 'relu' ? relu(normalised) : normalised
}

/** Two layers of one name would share their parameters unasked. */
function checkUnused(graph: Graph, name: string): void {
  if (typeof name !== 'string' || name === '') throw wrongType('a name', 'the name of a layer', name)
  if (graph.layers.some(layer => 'name' in layer && layer.name === name)) {
    throw outOfRange('a name no other layer has', 'the name of a layer', name)
  }
}
