// The weights of one operation of a plan.
import { types } from 'node:util'
import { ResidualError, wrongType } from '../errors.ts'
import type { ConvOp, LinearOp, Op, Plan } from '../model/plan.ts'
import { product } from '../model/product.ts'
import type { FilePlace } from './checkpoint/checkpoint-file.ts'
import { type ChannelFactors, foldBatchNorm, scaleChannels } from './fold.ts'
import type { WeightSource } from './source.ts'
import type { Staging } from './staging.ts'
import { storedOf, type WeightLayout } from './stored-source.ts'
import { checkFinite } from './tensors/float-tensor.ts'
import type { StoredType } from './tensors/stored-type.ts'

export type WeightedOp = ConvOp | LinearOp

export function takesWeights(op: Op): op is WeightedOp {
  return op.kind === 'conv' || op.kind === 'linear'
}

/** `[K,C/groups,R,S]`, PyTorch's order; of a linear operation `[K,C]`. */
export function weightShape(plan: Plan, op: WeightedOp): readonly number[] {
  const [channels, inputs] = [plan.values[op.dst]!.channels, plan.values[op.src]!.channels]
  return op.kind === 'linear' ? [channels, inputs] : [channels, inputs / op.groups, op.kernel, op.kernel]
}

/** The tensor that `op` multiplies by; null where each channel passes as it is. */
export function weightName(op: WeightedOp): string | null {
  if (op.kind === 'linear') return `${op.name}.weight`
  return op.convName === null ? null : `${op.convName}.weight`
}

/** What the addon takes of one operation: see `NativeSession.loadWeights`. */
export interface OpWeights extends ChannelFactors {
  /** {@link weightShape}, in this layout and of this type: in memory, or in a file that must stay open and may have changed. */
  readonly stored: Uint8Array | FilePlace
  readonly layout: WeightLayout
  readonly type: StoredType
}

/** Bytes that {@link readOpWeights} needs of memory: as float32, unless they stay in a file. */
export function stagedBytes(plan: Plan, op: WeightedOp, source: WeightSource): number {
  return locate(op, source)?.inFile ? 0 : product(weightShape(plan, op)) * Float32Array.BYTES_PER_ELEMENT
}

/**
 * One operation's weights: where they lie in a file as they are stored, from elsewhere as float32 in `staging`.
 *
 * @throws ResidualError CHECKPOINT_MISMATCH for tensors of the wrong size, NON_FINITE for a batch normalisation that comes to no
 *   finite numbers, OUT_OF_MEMORY, or whatever reading throws
 */
export async function readOpWeights(
  plan: Plan,
  op: WeightedOp,
  source: WeightSource,
  staging: Staging,
): Promise<OpWeights> {
  const [shape, name, located] = [weightShape(plan, op), weightName(op), locate(op, source)]
  const { layout = 'KCRS', inFile } = located ?? {}
  if (inFile) {
    checkStated(name!, source, product(shape))
    await inFile.check?.()
    const factors = await readFactors(op, source, shape[0]!)
    return { stored: inFile.place, layout, type: inFile.type, ...factors }
  }
  const length = product(shape)
  const memory = staging.take(length * Float32Array.BYTES_PER_ELEMENT, op.name)
  const target = new Float32Array(memory.buffer, memory.byteOffset, length)
  const weight = await (located ? located.read(target) : readWeight(plan, op, source, target))
  checkNumbers(name ?? op.name, source, weight, length)
  if (weight !== target) target.set(weight) // also what the source has kept for itself
  return { stored: memory, layout, type: 'F32', ...(await readFactors(op, source, shape[0]!)) }
}

/**
 * The numbers of one operation as they are run, in arrays that the caller owns: {@link weightShape} and `[K]`, float32.
 *
 * @throws ResidualError what {@link readOpWeights} throws, NON_FINITE for weights that come to no finite float32
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

/** In {@link weightShape}, before anything is folded into it. */
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

/** Over how many pixels the weights of the tensor are spread. */
const windowOf = (op: WeightedOp) => (op.kind === 'conv' && op.averaged ? op.kernel ** 2 : 1)

/** `[K,C,1,1]` as `[K,C,R,S]` of `pixels` equal weights. */
function spread(weight: Float32Array, pixels: number): Float32Array {
  return Float32Array.from(
    { length: weight.length * pixels },
    (_, i) => weight[Math.floor(i / pixels)]! / pixels,
  )
}

/** How the tensor that an operation multiplies by is had in the layout that the source's file has for it, if it has it. */
function locate(op: WeightedOp, source: WeightSource) {
  const [weight, { file, locate } = {}] = [weightName(op), storedOf(source)]
  const found = weight === null || windowOf(op) !== 1 ? undefined : locate?.(weight)
  if (!file || !found || !file.tensors.has(found.name)) return undefined
  const { name, layout } = found
  const read = (into: Float32Array) => file.read(name, into)
  return { layout, inFile: file.stored?.(name), read }
}

/** What the batch normalisation of an operation comes to, or its bias. */
async function readFactors(op: WeightedOp, source: WeightSource, channels: number): Promise<ChannelFactors> {
  return channelFactors(op, channels, await readVectors(op, source, channels), source)
}

/** As {@link vectorNames} has them. */
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

/** What a channel has one number of: the bias of a linear operation, the batch normalisation of a convolution. */
function vectorNames(op: WeightedOp): string[] {
  if (op.kind === 'linear') return [`${op.name}.bias`]
  const leaves = op.batchNorm ? ['weight', 'bias', 'running_mean', 'running_var'] : []
  return leaves.map(leaf => `${op.batchNorm!.name}.${leaf}`)
}

function channelFactors(
  op: WeightedOp,
  channels: number,
  vectors: readonly Float32Array[], // as vectorNames has them
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

/** Says in which operation numbers come to nothing finite; other errors are returned as they are. */
export function ofOperation(op: WeightedOp, source: WeightSource, cause: unknown): unknown {
  if (!(cause instanceof ResidualError && cause.code === 'NON_FINITE')) return cause
  return new ResidualError(cause.code, `'${op.name}' of ${source.description}: ${cause.message}`, { cause })
}

/** Before anything is read, of what is not looked at when it is. */
function checkStated(name: string, source: WeightSource, expected: number): void {
  const shape = source.shape(name)
  if (shape) checkLength(name, source, product(shape), expected) // where there is none reading says so
}

/** A source may be anybody's: what it gives is looked at. */
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
