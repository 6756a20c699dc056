// The weights of one operation of a plan.
import { types } from 'node:util'
import { ResidualError, wrongType } from '../errors.ts'
import { type ConvOp, type LinearOp, type Op, rowOf } from '../model/ops.ts'
import type { Plan } from '../model/plan.ts'
import { product } from '../model/product.ts'
import type { FilePlace } from './checkpoint/checkpoint-file.ts'
import type { StoredTensor } from './checkpoint/stored-tensor.ts'
import { type ChannelFactors, foldBatchNorm, scaleChannels } from './fold.ts'
import type { WeightSource } from './source.ts'
import type { Staging } from './staging.ts'
import { storedOf, type WeightLayout } from './stored-source.ts'
import { checkFinite } from './tensors/float-tensor.ts'
import type { StoredType } from './tensors/stored-type.ts'

export type WeightedOp = ConvOp | LinearOp

export function takesWeights(op: Op): op is WeightedOp {
  return rowOf(op).weighted === true
}

/** `[K,C/groups,R,S]`, PyTorch's order; `[K,C]` for a linear operation. */
export function weightShape(plan: Plan, op: WeightedOp): readonly number[] {
  const [channels, inputs] = [plan.values[op.dst]!.channels, plan.values[op.src]!.channels]
  return op.kind === 'linear' ? [channels, inputs] : [channels, inputs / op.groups, op.kernel, op.kernel]
}

/** The name of the tensor that `op` multiplies by; null if each channel passes unchanged. */
export function weightName(op: WeightedOp): string | null {
  if (op.kind === 'linear') return `${op.name}.weight`
  return op.convName === null ? null : `${op.convName}.weight`
}

/** One operation's weights as the addon takes them: see `NativeSession.loadWeights`. */
export interface OpWeights extends ChannelFactors {
  /** {@link weightShape}, in this layout and of this type: in memory, or in a file that must stay open and may have changed. */
  readonly stored: Uint8Array | FilePlace
  readonly layout: WeightLayout
  readonly type: StoredType
}

/** One operation's weights as integers: those of an output channel stand for that many times its scale. */
export interface QuantizedWeights extends ChannelFactors {
  /** {@link weightShape}, from -127 to 127. */
  readonly integers: Int8Array
}

/** Bytes that {@link readOpWeights} needs of memory: none for weights that stay in a file, else those of float32. */
export function stagedBytes(plan: Plan, op: WeightedOp, source: WeightSource): number {
  return locate(op, source)?.stored ? 0 : product(weightShape(plan, op)) * Float32Array.BYTES_PER_ELEMENT
}

/**
 * The weights of one operation, from the first of these that applies: their place in a file that the addon reads itself, in the
 * file's type and layout; integers in `staging`; float32 in `staging` read from that file, in its layout; float32 in `staging`
 * read from the source, which is spread over the window if it is averaged; ones, if each channel passes unchanged.
 *
 * @throws ResidualError CHECKPOINT_MISMATCH for tensors of the wrong size, NON_FINITE for a batch norm that does not give finite
 *   numbers, CHECKPOINT_INVALID for integers of a channel whose scale comes to 0, OUT_OF_MEMORY, or whatever reading throws
 */
export async function readOpWeights(
  plan: Plan,
  op: WeightedOp,
  source: WeightSource,
  staging: Staging,
): Promise<OpWeights> {
  const shape = weightShape(plan, op)
  const name = weightName(op) ?? op.name
  const { layout, stored, read }: Located = locate(op, source) ?? {
    layout: 'KCRS',
    stored: undefined,
    read: into => readWeight(plan, op, source, into),
  }
  const quantized = stored ? undefined : await readQuantized(plan, op, source)
  if (quantized) return staged(quantized, staging.take(quantized.integers.length, op.name))
  const weights = stored
    ? await checkedInPlace(name, source, stored, product(shape))
    : await readStaged(
        name,
        source,
        read,
        staging.take(product(shape) * Float32Array.BYTES_PER_ELEMENT, op.name),
      )
  const factors = await readFactors(op, source, shape[0]!)
  if (!stored?.readScales) return { ...weights, layout, ...factors }
  return { ...weights, layout, ...scaled(factors, await stored.readScales(), name, source) }
}

/** Integers as the addon takes them, in `memory` of as many bytes. */
function staged({ integers, ...factors }: QuantizedWeights, memory: Uint8Array<ArrayBuffer>): OpWeights {
  memory.set(new Uint8Array(integers.buffer, integers.byteOffset, integers.length))
  return { stored: memory, type: 'I8', layout: 'KCRS', ...factors }
}

/**
 * One operation's weights as the integers that its file has, in an array that the caller owns; undefined if they are not
 * quantized. Averaged ones are spread over the window, and the scales divided.
 *
 * @throws ResidualError what {@link readOpWeights} throws
 */
export async function readQuantized(
  plan: Plan,
  op: WeightedOp,
  source: WeightSource,
): Promise<QuantizedWeights | undefined> {
  const [name, { file, locate: find } = {}] = [weightName(op), storedOf(source)]
  const found = name === null ? undefined : find?.(name)
  const tensor = found && (await file?.readIntegers?.(found.name))
  if (name === null || !tensor) return undefined
  const [shape, pixels] = [weightShape(plan, op), windowOf(op)]
  const { integers } = tensor
  checkLength(name, source, integers.length, product(shape) / pixels)
  const factors = await readFactors(op, source, shape[0]!)
  const scales = Float64Array.from(tensor.scales, scale => scale / pixels)
  return {
    integers:
      pixels === 1
        ? integers
        : Int8Array.from({ length: integers.length * pixels }, (_, i) => integers[Math.floor(i / pixels)]!),
    ...scaled(factors, scales, name, source),
  }
}

/** The factors of channels whose integers have `scales`. */
function scaled(
  { scale, bias }: ChannelFactors,
  scales: Float32Array | Float64Array,
  name: string,
  source: WeightSource,
): ChannelFactors {
  checkLength(name, source, scales.length, scale.length)
  const both = scale.map((factor, k) => factor * scales[k]!)
  const zero = both.indexOf(0)
  if (zero < 0) return { scale: both, bias }
  throw new ResidualError(
    'CHECKPOINT_INVALID',
    `'${name}' of ${source.description} is quantized, and the scale of its channel ${zero} comes to 0.`,
  )
}

/** Weights that stay in their file. */
async function checkedInPlace(
  name: string,
  source: WeightSource,
  { place, type, check }: StoredTensor,
  length: number,
): Promise<Pick<OpWeights, 'stored' | 'type'>> {
  checkStated(name, source, length)
  await check?.()
  return { stored: place, type }
}

/** Weights as float32 in `memory`. */
async function readStaged(
  name: string,
  source: WeightSource,
  read: Located['read'],
  memory: Uint8Array<ArrayBuffer>,
): Promise<Pick<OpWeights, 'stored' | 'type'>> {
  const target = new Float32Array(
    memory.buffer,
    memory.byteOffset,
    memory.length / Float32Array.BYTES_PER_ELEMENT,
  )
  const weight = await read(target)
  checkNumbers(name, source, weight, target.length)
  if (weight !== target) target.set(weight) // sources may ignore `into`, and keep the result
  return { stored: memory, type: 'F32' }
}

/**
 * One operation's weights with the batch norm folded in, in arrays that the caller owns: {@link weightShape} and `[K]`, float32.
 *
 * @throws ResidualError what {@link readOpWeights} throws, NON_FINITE for weights that are not finite as float32
 */
export async function readFolded(
  plan: Plan,
  op: WeightedOp,
  source: WeightSource,
): Promise<{ readonly weight: Float32Array; readonly bias: Float32Array }> {
  const weight = await readWeight(plan, op, source)
  const { scale, bias } = await readFactors(op, source, weightShape(plan, op)[0]!)
  await storedOf(source)?.file.checkUnchanged?.()
  try {
    return { weight: scaleChannels(weight, scale), bias }
  } catch (cause) {
    throw ofOperation(op, source, cause)
  }
}

/** The source's weights in {@link weightShape}, before anything is folded into them. */
async function readWeight(
  plan: Plan,
  op: WeightedOp,
  source: WeightSource,
  into?: Float32Array,
): Promise<Float32Array> {
  const name = weightName(op)
  const pixels = windowOf(op)
  const length = product(weightShape(plan, op)) / pixels
  const own =
    name === null
      ? new Float32Array(length).fill(1)
      : await source.read(name, pixels === 1 ? into : undefined)
  if (name !== null) checkNumbers(name, source, own, length)
  return pixels === 1 ? own : spread(own, pixels)
}

/** The number of pixels that the tensor's weights are spread over. */
const windowOf = (op: WeightedOp) => (op.kind === 'conv' && op.averaged ? op.kernel ** 2 : 1)

/** `[K,C,1,1]` as `[K,C,R,S]` of `pixels` equal weights. */
function spread(weight: Float32Array, pixels: number): Float32Array {
  return Float32Array.from(
    { length: weight.length * pixels },
    (_, i) => weight[Math.floor(i / pixels)]! / pixels,
  )
}

/** Weights in a file, in some layout. */
interface Located {
  readonly layout: WeightLayout
  /** Where the addon can read them itself. */
  readonly stored: StoredTensor | undefined
  /** Reads them as float32, into `into` if possible. */
  readonly read: (into: Float32Array) => Promise<Float32Array>
}

/** Locates an operation's weights and their layout in the source's file, if that has them unchanged. */
function locate(op: WeightedOp, source: WeightSource): Located | undefined {
  const [name, { file, locate: find } = {}] = [weightName(op), storedOf(source)]
  const found = name === null || windowOf(op) !== 1 ? undefined : find?.(name)
  if (!file || !found || !file.tensors.has(found.name)) return undefined
  return {
    layout: found.layout,
    stored: file.stored?.(found.name),
    read: into => file.read(found.name, into),
  }
}

/** The scale and bias of an operation's channels, from its batch norm or its own bias. */
async function readFactors(op: WeightedOp, source: WeightSource, channels: number): Promise<ChannelFactors> {
  return channelFactors(op, channels, await readVectors(op, source, channels), source)
}

/** The tensors named by {@link vectorNames}, in that order. */
async function readVectors(op: WeightedOp, source: WeightSource, channels: number): Promise<Float32Array[]> {
  const names = vectorNames(op)
  const { file, locate } = storedOf(source) ?? {}
  const inFile = names.flatMap(name => locate?.(name)?.name ?? [])
  if (file?.readTogether && inFile.length === names.length) {
    for (const name of names) checkStated(name, source, channels)
    return file.readTogether(inFile)
  }
  const vectors: Float32Array[] = []
  for (const name of names) vectors.push(await source.read(name))
  for (const [i, name] of names.entries()) checkNumbers(name, source, vectors[i], channels)
  return vectors
}

/** The tensors with one number per channel: a linear operation's bias, a convolution's batch norm. */
function vectorNames(op: WeightedOp): string[] {
  if (op.kind === 'linear') return [`${op.name}.bias`]
  const leaves = op.batchNorm ? ['weight', 'bias', 'running_mean', 'running_var'] : []
  return leaves.map(leaf => `${op.batchNorm!.name}.${leaf}`)
}

function channelFactors(
  op: WeightedOp,
  channels: number,
  vectors: readonly Float32Array[], // in the order of vectorNames
  source: WeightSource,
): ChannelFactors {
  if (op.kind === 'linear') {
    const bias = vectors[0]!
    checkFinite(`${op.name}.bias`, bias, source.description)
    return { scale: new Float64Array(channels).fill(1), bias }
  }
  if (!op.batchNorm) return foldBatchNorm(channels, null)
  const [weight, bias, mean, variance] = vectors as [Float32Array, Float32Array, Float32Array, Float32Array]
  const { epsilon } = op.batchNorm
  try {
    return foldBatchNorm(channels, { weight, bias, mean, variance, epsilon })
  } catch (cause) {
    throw ofOperation(op, source, cause)
  }
}

/** Names the operation in an error about numbers that are not finite; other errors are returned unchanged. */
export function ofOperation(op: WeightedOp, source: WeightSource, cause: unknown): unknown {
  if (!(cause instanceof ResidualError && cause.code === 'NON_FINITE')) return cause
  return new ResidualError(cause.code, `'${op.name}' of ${source.description}: ${cause.message}`, { cause })
}

/** A check of the stated size, for tensors that are not inspected when they are read. */
function checkStated(name: string, source: WeightSource, expected: number): void {
  const shape = source.shape(name)
  if (shape) checkLength(name, source, product(shape), expected) // a missing one is reported when it is read
}

/** A source may be the caller's own, so its results are checked. */
function checkNumbers(name: string, source: WeightSource, data: unknown, expected: number): void {
  if (!types.isFloat32Array(data))
    throw wrongType('a Float32Array', `'${name}' of ${source.description}`, data)
  checkLength(name, source, data.length, expected)
}

function checkLength(name: string, source: WeightSource, length: number, expected: number): void {
  if (length === expected) return
  throw new ResidualError(
    'CHECKPOINT_MISMATCH',
    `'${name}' of ${source.description} has ${length} values instead of the ${expected} the network needs.`,
  )
}
