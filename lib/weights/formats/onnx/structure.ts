// Matching an ONNX graph to a ResNet: it is followed from the image to the logits, naming each convolution.

import { stemNames } from '../../../model/blocks.ts'
import { type Head, headAt } from './classifier-head.ts'
import { type ConvNorm, convNormAt, window } from './conv-norm.ts'
import type { OnnxGraph, Reader } from './graph.ts'
import { described, type OnnxInput, type OnnxNode } from './model.ts'
import { type ActivationRange, highest, lowest } from './scaling.ts'

/** A ResNet's parts, under torchvision's names. */
export interface Structure extends Head {
  /** `conv1`, `layer1.0.conv1`, `layer1.0.downsample.0` and so on, those of the stem first. */
  readonly convs: ReadonlyMap<string, PlacedConv>
  /** Whether an average pool is before projections with a stride, which are `layer1.0.downsample.1` then. */
  readonly averagedShortcut: boolean
  /** Undefined for basic blocks. */
  readonly stride: 'v1' | 'v1.5' | undefined
}

/** A convolution and its place in the network. */
export interface PlacedConv extends ConvNorm {
  /** Of its result, after the addition and the ReLU, if that is quantized. */
  readonly made: ActivationRange | undefined
  /** The name of the convolution whose result is added to its own. */
  readonly added: string | undefined
  /** Whether a ReLU follows: everywhere but after projections. */
  readonly relu: boolean
}

const pools = new Set(['GlobalAveragePool', 'AveragePool', 'ReduceMean'])
const adds = new Set(['Add', 'Sum'])

/** A convolution of a projection. */
interface Projection extends ConvNorm {
  /** Whether an average pool is before it, or is in its weights. */
  readonly pooled: boolean
}

interface Block {
  readonly main: readonly ConvNorm[]
  readonly projection: Projection | undefined
  /** Of the projection's result, if that is quantized. */
  readonly projected: ActivationRange | undefined
  /** Its output, after the ReLU. */
  readonly value: string
  /** Of that, if it is quantized. */
  readonly range: ActivationRange | undefined
}

/** @throws ResidualError CHECKPOINT_INVALID naming what does not occur in a ResNet */
export function structureOf(graph: OnnxGraph, input: OnnxInput): Structure {
  const stem = stemAt(graph, only(graph, input.name, 'the input'))
  const pooled = stemPool(graph, stem.at(-1)!)
  let { value, readers } = pooled
  const blocks: Block[] = []
  while (true) {
    const pool = readers.find(({ node }) => pools.has(node.op))
    if (pool && readers.length === 1) {
      return {
        ...headAt(graph, pool, input),
        convs: named(graph, stemConvs(stem, pooled.range), blocks),
        averagedShortcut: hasPools(blocks),
        stride: strideOf(graph, blocks),
      }
    }
    const block = blockAt(graph, value, readers)
    blocks.push(block)
    value = block.value
    readers = graph.readers(value)
    if (blocks.length > 1000) throw graph.refused('it has more than 1000 blocks')
  }
}

function only(graph: OnnxGraph, value: string, whose: string): Reader {
  const readers = graph.readers(value)
  if (readers.length !== 1) throw graph.refused(`${readers.length} nodes read ${whose}; in a ResNet one does`)
  return readers[0]!
}

/** One 7x7 convolution, or three 3x3. */
function stemAt(graph: OnnxGraph, reader: Reader): ConvNorm[] {
  const first = convNormAt(graph, reader)
  const { kernel, stride } = first
  if (kernel === 7 && stride === 2) return [first]
  if (kernel !== 3 || stride !== 2)
    throw graph.refused(
      `its stem begins with a ${kernel}x${kernel} convolution of stride ${stride}, not with 7x7 or 3x3 of stride 2`,
    )
  const convs = [first]
  while (convs.length < stemNames.deep.length) {
    const { value, node } = convs.at(-1)!
    const conv = convNormAt(graph, only(graph, relu(graph, value, node), 'the stem'))
    if (conv.kernel !== 3 || conv.stride !== 1)
      throw graph.refused(
        `its stem goes on with a ${conv.kernel}x${conv.kernel} convolution of stride ${conv.stride}, not with 3x3 of stride 1`,
      )
    convs.push(conv)
  }
  return convs
}

/** The convolutions of the stem by name; `range` is that of the last one's result, if it is quantized. */
function stemConvs(stem: readonly ConvNorm[], range: ActivationRange | undefined): Map<string, PlacedConv> {
  const names = stem.length === 1 ? stemNames.plain : stemNames.deep
  return new Map(
    stem.map((conv, i) => {
      const next = stem[i + 1]
      return [names[i]!.conv, { ...conv, made: next ? next.range : range, added: undefined, relu: true }]
    }),
  )
}

/** ReLU and max pool. It makes no difference whether numbers are quantized before or after their largest is taken. */
function stemPool(
  graph: OnnxGraph,
  stem: ConvNorm,
): {
  readonly value: string
  readonly readers: readonly Reader[]
  readonly range: ActivationRange | undefined
} {
  const pool = only(graph, relu(graph, stem.value, stem.node), 'the stem')
  if (pool.node.op !== 'MaxPool')
    throw graph.refused(`its stem ends with ${described(pool.node)}, not with a max pool`)
  const { kernel, stride } = window(
    graph,
    pool.node,
    pool.pads,
    pool.node.attributes.get('kernel_shape')?.ints ?? [],
  )
  if (kernel !== 3 || stride !== 2)
    throw graph.refused(`its max pool is ${kernel}x${kernel} of stride ${stride}`)
  const value = pool.node.outputs[0]!
  const readers = graph.readers(value, { range: pool.range })
  return { value, readers, range: pool.range ?? widest(readers) }
}

/** The value after a ReLU, which may be nothing but a quantization that has no negative numbers. */
function relu(graph: OnnxGraph, value: string, after: OnnxNode): string {
  const readers = graph.readers(value)
  const isPositive = ({ node, range }: Reader) => node.op !== 'Relu' && range?.zeroPoint === range?.least
  if (readers.length > 0 && readers.every(reader => reader.range && isPositive(reader))) return value
  const { node } = only(graph, value, described(after))
  if (node.op !== 'Relu') throw graph.refused(`it has ${described(node)} where a ResNet has a ReLU`)
  return node.outputs[0]!
}

function blockAt(graph: OnnxGraph, value: string, readers: readonly Reader[]): Block {
  const { convs, pooled, others } = sorted(graph, readers)
  const shape = `${convs.length} convolutions${others.map(({ node }) => ` and ${described(node)}`).join('')} read '${value}'`
  const paths = convs
    .map(conv => pathFrom(graph, conv, pooled.includes(conv)))
    .sort((a, b) => b.convs.length - a.convs.length)
  const [main, shortcut] = paths
  const identity = paths.length === 1 && others.length === 1 && others[0]!.node === main!.add
  const projected =
    paths.length === 2 && others.length === 0 && shortcut!.add === main!.add && shortcut!.convs.length === 1
  if (!(identity || projected) || main!.add.inputs.length !== 2)
    throw graph.refused(`${shape}, which is not a ResNet block`)
  const output = relu(graph, main!.add.outputs[0]!, main!.add)
  return {
    main: main!.convs,
    projection: shortcut && projectionOf(graph, shortcut),
    projected: shortcut?.sum.range,
    value: output,
    range: widest(graph.readers(output)),
  }
}

/** The range that all ranges on the ways to `readers` are in. */
function widest(readers: readonly Reader[]): ActivationRange | undefined {
  const ranges = readers.flatMap(({ range }) => range ?? [])
  const reach = (range: ActivationRange) => Math.max(-lowest(range), highest(range))
  return ranges.reduce<ActivationRange | undefined>(
    (best, range) => (best && reach(best) >= reach(range) ? best : range),
    undefined,
  )
}

/** The convolutions that read a value, those among them that read it by an average pool of 2x2, and what else reads it. */
function sorted(graph: OnnxGraph, readers: readonly Reader[]) {
  const [convs, pooled, others]: [Reader[], Reader[], Reader[]] = [[], [], []]
  for (const reader of readers) {
    if (reader.node.op === 'Conv') convs.push(reader)
    else if (isHalvingPool(reader)) {
      const conv = only(graph, reader.node.outputs[0]!, described(reader.node))
      convs.push(conv)
      pooled.push(conv)
    } else others.push(reader)
  }
  return { convs, pooled, others }
}

/** Whether it takes the means of 2x2 pixels each. An odd last row, which may be rounded up for, is refused by the network. */
function isHalvingPool({ node, pads }: Reader): boolean {
  const ints = (name: string, otherwise: string) => node.attributes.get(name)?.ints?.join() ?? otherwise
  const pad = [ints('pads', '0,0,0,0'), pads.join()].every(each => each === '0,0,0,0')
  const mode = node.attributes.get('auto_pad')?.text || 'NOTSET'
  const isPlain = pad && (mode === 'NOTSET' || mode === 'VALID') && ints('dilations', '1,1') === '1,1'
  return (
    node.op === 'AveragePool' &&
    isPlain &&
    ints('kernel_shape', '') === '2,2' &&
    ints('strides', '1,1') === '2,2'
  )
}

/** The convolution of a shortcut, after the pool if there is one. */
function projectionOf(graph: OnnxGraph, { convs, pooled }: Path): Projection {
  const conv = convs[0]!
  if (conv.averaged) return { ...conv, kernel: 1, pooled: true }
  if (!pooled) return { ...conv, pooled }
  if (conv.stride !== 1)
    throw graph.refused(`${described(conv.node)} has a stride of ${conv.stride} after an average pool`)
  return { ...conv, stride: 2, pooled }
}

const hasPools = (blocks: readonly Block[]) => blocks.some(({ projection }) => projection?.pooled)

interface Path {
  readonly convs: readonly ConvNorm[]
  /** Whether an average pool is before them. */
  readonly pooled: boolean
  readonly add: OnnxNode
  readonly sum: Reader
}

/** The convolutions, with a ReLU between them, up to an addition. */
function pathFrom(graph: OnnxGraph, first: Reader, pooled: boolean): Path {
  const convs: ConvNorm[] = []
  for (let at = first; ; ) {
    const conv = convNormAt(graph, at, convs.length === 0)
    convs.push(conv)
    const next = only(graph, conv.value, described(conv.node))
    if (adds.has(next.node.op)) return { convs, pooled, add: next.node, sum: next }
    if (convs.length === 3)
      throw graph.refused(
        `${described(conv.node)} is the third convolution of a block, but no addition follows`,
      )
    at = only(graph, relu(graph, conv.value, conv.node), described(conv.node))
  }
}

/** A stage begins at a projection; the first stage of basic blocks has none. */
function named(
  graph: OnnxGraph,
  stem: ReadonlyMap<string, PlacedConv>,
  blocks: readonly Block[],
): Map<string, PlacedConv> {
  const convs = new Map(stem)
  const projecting = `downsample.${hasPools(blocks) ? 1 : 0}`
  const depth = blocks[0]?.main.length
  const kernels = depth === 3 ? '1,3,1' : '3,3'
  let [stage, index] = [1, 0]
  let read = [...stem.keys()].at(-1)! // what makes the value that the block reads
  for (const [i, { main, projection, projected, range }] of blocks.entries()) {
    if (i > 0 && projection) [stage, index] = [stage + 1, 0]
    const name = `layer${stage}.${index++}`
    const stride = main.reduce((product, conv) => product * conv.stride, 1)
    if (main.length !== depth || main.map(({ kernel }) => kernel).join() !== kernels)
      throw graph.refused(
        `the convolutions of its block ${name} are ${main.map(({ kernel }) => `${kernel}x${kernel}`)}`,
      )
    if (
      stride !== (stage > 1 && index === 1 ? 2 : 1) ||
      (projection && (projection.kernel !== 1 || projection.stride !== stride))
    )
      throw graph.refused(
        `its block ${name} has a stride of ${stride} and a shortcut of ${projection?.stride ?? 1}`,
      )
    if (projection && stride === 2 && projection.pooled !== hasPools(blocks))
      throw graph.refused('some of its shortcuts have average pools and others have none')
    const shortcut = `${name}.${projecting}`
    for (const [k, conv] of main.entries()) {
      const next = main[k + 1]
      const added = next ? undefined : projection ? shortcut : read
      convs.set(`${name}.conv${k + 1}`, { ...conv, made: next ? next.range : range, added, relu: true })
    }
    if (projection) convs.set(shortcut, { ...projection, made: projected, added: undefined, relu: false })
    read = `${name}.conv${depth}`
  }
  if (stage !== 4) throw graph.refused(`it has ${stage} stages instead of 4`)
  return convs
}

function strideOf(graph: OnnxGraph, blocks: readonly Block[]): Structure['stride'] {
  const found = new Set(
    blocks
      .filter(({ main }) => main.some(({ stride }) => stride !== 1))
      .map(({ main }) => main.map(({ stride }) => stride).join()),
  )
  if (found.size === 1) {
    if (found.has('2,1,1')) return 'v1'
    if (found.has('1,2,1')) return 'v1.5'
    if (found.has('2,1')) return undefined
  }
  throw graph.refused(`its blocks have their strides on ${[...found].join(' and ')}`)
}
