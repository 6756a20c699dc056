// Our checkpoints in the names and layouts of others. Written by hand for each, not by the tables under test.
import { type NamedTensor, type Network, parametersOf, type WeightSource } from '../../lib/index.ts'
import { seeded } from './files.ts'

/** Weights whose batch norms do something, in the order of the network. */
export async function lively(network: Network, source: WeightSource, seed = 1): Promise<NamedTensor[]> {
  const random = seeded(seed)
  const tensors: NamedTensor[] = []
  for (const { name, shape, role } of parametersOf(network)) {
    const data = await source.read(name)
    const lowest = { bnVar: 0.5, bnWeight: 0.5, bnBias: -0.5, bnMean: -0.5, linearBias: -0.5 }[role as string]
    tensors.push({ name, shape, data: lowest === undefined ? data : data.map(() => lowest + random()) })
  }
  return tensors
}

/** What becomes of one tensor in the other's file; none, one or several. */
export type Rename = (tensor: NamedTensor) => NamedTensor[]

const leaf = (name: string) => name.slice(name.lastIndexOf('.') + 1)
const replaceAll = (name: string, pairs: readonly (readonly [RegExp, string])[]) =>
  pairs.reduce((result, [pattern, by]) => result.replace(pattern, by), name)

const renamed =
  (pairs: readonly (readonly [RegExp, string])[], turnLinear = false): Rename =>
  ({ name, ...tensor }) => [
    {
      ...(turnLinear && name === 'fc.weight' ? transposed(tensor) : tensor),
      name: replaceAll(name, pairs),
    },
  ]

function transposed({ shape, data }: Omit<NamedTensor, 'name'>): Omit<NamedTensor, 'name'> {
  const [rows, columns] = shape as [number, number]
  return {
    shape: [columns, rows],
    data: Float32Array.from(data, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)]!),
  }
}

/** `[K,C,R,S]` to `[R,S,C,K]`. */
function channelsLast({ shape, data }: NamedTensor): Omit<NamedTensor, 'name'> {
  const [K, C, R, S] = shape as [number, number, number, number]
  const turned = new Float32Array(data.length)
  for (let k = 0; k < K; k++)
    for (let c = 0; c < C; c++)
      for (let r = 0; r < R; r++)
        for (let s = 0; s < S; s++)
          turned[((r * S + s) * C + c) * K + k] = data[((k * C + c) * R + r) * S + s]!
  return { shape: [R, S, C, K], data: turned }
}

const paddleLeaves = [
  [/running_mean$/, '_mean'],
  [/running_var$/, '_variance'],
] as const

const inTransformers = (name: string) =>
  replaceAll(name, [
    [/^(conv|bn)1\./, 'resnet.embedder.embedder.$1.'],
    [/^fc\./, 'classifier.1.'],
    [/^layer1\./, 'resnet.encoder.stages.0.layers.'],
    [/^layer2\./, 'resnet.encoder.stages.1.layers.'],
    [/^layer3\./, 'resnet.encoder.stages.2.layers.'],
    [/^layer4\./, 'resnet.encoder.stages.3.layers.'],
    [/\.(conv|bn)1\.(?=[^.]+$)/, '.layer.0.$1.'],
    [/\.(conv|bn)2\./, '.layer.1.$1.'],
    [/\.(conv|bn)3\./, '.layer.2.$1.'],
    [/downsample\.0\./, 'shortcut.conv.'],
    [/downsample\.1\./, 'shortcut.bn.'],
    [/embedder\.layer\.0\./, 'embedder.'],
    [/\.conv\./, '.convolution.'],
    [/\.bn\./, '.normalization.'],
  ])

/** `layer2.1.conv3` as `res3b_branch2c`, `bn` or `scale` likewise; `many` for networks that count blocks b1, b2... */
function caffeLayer(name: string, many: boolean): { kind: string; rest: string } {
  if (/^(conv|bn)1\./.test(name)) return { kind: name.slice(0, -2).split('1')[0]!, rest: 'conv1' }
  const [, stage, block, layer, index] = /^layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)/.exec(name)!
  const letter =
    many && Number(block) > 0 && (stage === '2' || stage === '3') ? `b${block}` : 'abcdefgh'[Number(block)]
  const branch = layer === 'downsample.' ? '1' : `2${'abc'[Number(index) - 1]}`
  const kind = layer === 'conv' || (layer === 'downsample.' && index === '0') ? 'conv' : 'bn'
  return { kind, rest: `${Number(stage) + 1}${letter}_branch${branch}` }
}

const conv = (rest: string) => (rest === 'conv1' ? rest : `res${rest}`)
const norm = (kind: string, rest: string) => (rest === 'conv1' ? `${kind}_conv1` : `${kind}${rest}`)

/** Batch norms' means and variances multiplied by a factor, as Caffe keeps them. */
export const caffe =
  (many: boolean, factor = 4): Rename =>
  tensor => {
    const { name, shape, data } = tensor
    if (name.startsWith('fc.')) return [{ ...tensor, name: `data/fc1000/${leaf(name) === 'weight' ? 0 : 1}` }]
    const { kind, rest } = caffeLayer(name, many)
    if (kind === 'conv') return [{ ...tensor, name: `data/${conv(rest)}/0` }]
    const scaled = { shape, data: data.map(value => value * factor) } // a power of two: exact
    switch (leaf(name)) {
      case 'weight':
        return [{ ...tensor, name: `data/${norm('scale', rest)}/0` }]
      case 'bias':
        return [{ ...tensor, name: `data/${norm('scale', rest)}/1` }]
      case 'running_mean':
        return [
          { ...scaled, name: `data/${norm('bn', rest)}/0` },
          { name: `data/${norm('bn', rest)}/2`, shape: [1], data: new Float32Array([factor]) },
        ]
      default:
        return [{ ...scaled, name: `data/${norm('bn', rest)}/1` }]
    }
  }

export const caffeConverted: Rename = tensor => {
  const { name } = tensor
  if (name.startsWith('fc.')) return [{ ...tensor, name: name.replace('fc', 'fc1000') }]
  const { kind, rest } = caffeLayer(name, false)
  if (kind === 'conv') return [{ ...tensor, name: `${conv(rest)}.weight` }]
  const layer = norm(/running/.test(name) ? 'bn' : 'scale', rest)
  return [{ ...tensor, name: `${layer}.${leaf(name)}` }]
}

export const paddleClas: Rename = tensor => {
  const { name } = tensor
  if (name === 'fc.weight') return [{ ...transposed(tensor), name: 'fc_0.w_0' }]
  if (name === 'fc.bias') return [{ ...tensor, name: 'fc_0.b_0' }]
  const { kind, rest } = caffeLayer(name, false)
  if (kind === 'conv') return [{ ...tensor, name: `${conv(rest)}_weights` }]
  const leaves = { weight: 'scale', bias: 'offset', running_mean: 'mean', running_var: 'variance' }
  return [{ ...tensor, name: `${norm('bn', rest)}_${leaves[leaf(name) as keyof typeof leaves]}` }]
}

/** The convolutions get biases, which the batch norms' means take back. Powers of two: exact. */
export const keras: Rename = tensor => {
  const { name, shape, data } = tensor
  if (name === 'fc.weight') return [{ ...transposed(tensor), name: 'predictions/kernel' }]
  if (name === 'fc.bias') return [{ ...tensor, name: 'predictions/bias' }]
  const layer = (kind: 'conv' | 'bn') => {
    const found = /^layer(\d)\.(\d+)\.(?:(?:conv|bn)(\d)|downsample)/.exec(name)
    return found
      ? `conv${Number(found[1]) + 1}_block${Number(found[2]) + 1}_${found[3] ?? 0}_${kind}`
      : `conv1_${kind}`
  }
  if (shape.length === 4) {
    const bias = new Float32Array(shape[0]!).fill(0.25)
    return [
      { ...channelsLast(tensor), name: `${layer('conv')}/kernel` },
      { name: `${layer('conv')}/bias`, shape: [shape[0]!], data: bias },
    ]
  }
  const leaves = {
    weight: 'gamma',
    bias: 'beta',
    running_mean: 'moving_mean',
    running_var: 'moving_variance',
  }
  const kind = leaves[leaf(name) as keyof typeof leaves]
  const moved = kind === 'moving_mean' ? data.map(value => value + 0.25) : data
  return [{ shape, data: moved, name: `${layer('bn')}/${kind}` }]
}

export const transformers: Rename = tensor => [{ ...tensor, name: inTransformers(tensor.name) }]

export const paddleVision = renamed(paddleLeaves, /*turnLinear=*/ true)

export const paddleDygraph = renamed(
  [
    ...paddleLeaves,
    [/^conv1\./, 'conv._conv.'],
    [/^bn1\./, 'conv._batch_norm.'],
    [/^fc\./, 'out.'],
    [/^layer1\.(\d+)/, 'bb_0_$1'],
    [/^layer2\.(\d+)/, 'bb_1_$1'],
    [/^layer3\.(\d+)/, 'bb_2_$1'],
    [/^layer4\.(\d+)/, 'bb_3_$1'],
    [/\.(conv)1\./, '.conv0._conv.'],
    [/\.(conv)2\./, '.conv1._conv.'],
    [/\.(conv)3\./, '.conv2._conv.'],
    [/\.bn1\./, '.conv0._batch_norm.'],
    [/\.bn2\./, '.conv1._batch_norm.'],
    [/\.bn3\./, '.conv2._batch_norm.'],
    [/downsample\.0\./, 'short._conv.'],
    [/downsample\.1\./, 'short._batch_norm.'],
  ],
  /*turnLinear=*/ true,
)

const blockOfDygraph = /^bb_(\d)_(\d+)\./

/** Blocks called as Caffe calls them; `many` for networks that count those of stage 3 b1, b2... */
export const paddleDygraphCaffe =
  (many: boolean): Rename =>
  tensor =>
    paddleDygraph(tensor).map(made => ({
      ...made,
      name: made.name.replace(blockOfDygraph, (_, stage, block) => {
        const counted = many && stage === '2' && block !== '0' ? `b${block}` : 'abcdefgh'[Number(block)]
        return `res${Number(stage) + 2}${counted}.`
      }),
    }))

export const paddleWsl: Rename = tensor =>
  paddleDygraph(tensor).map(made => ({
    ...made,
    name: replaceAll(made.name, [
      [/^conv\./, '_conv_stem.'],
      [/^out\./, '_out.'],
      [/^bb_0_/, '_conv1_'],
      [/^bb_1_/, '_conv2_'],
      [/^bb_2_/, '_conv3_'],
      [/^bb_3_/, '_conv4_'],
      [/\.conv(\d)\./, '._conv$1.'],
      [/\.short\./, '._short._conv.'],
      [/\._batch_norm\./, '._bn.'],
    ]),
  }))

/** For a network of so many blocks in each stage: they are in one list. */
export const paddleClasBlocks =
  (blocks: readonly number[]): Rename =>
  tensor =>
    paddleVision(tensor).map(made => ({
      ...made,
      name: made.name
        .replace(/^(conv|bn)1\./, 'stem.0.$1.')
        .replace(/^layer(\d)\.(\d+)\./, (_, stage, block) => {
          const before = blocks.slice(0, Number(stage) - 1).reduce((sum, count) => sum + count, 0)
          return `blocks.${before + Number(block)}.`
        })
        .replace(/\.(conv|bn)(\d)\.(?=[^.]+$)/, (_, kind, k) => `.conv${Number(k) - 1}.${kind}.`)
        .replace('.downsample.0.', '.short.conv.')
        .replace('.downsample.1.', '.short.bn.'),
    }))

/** Keras' layers under Caffe's names. */
export const kerasUntil2018: Rename = tensor => {
  const { name } = tensor
  return keras(tensor).map(made => {
    const variable = made.name.slice(made.name.indexOf('/') + 1)
    if (name.startsWith('fc.')) return { ...made, name: `fc1000/${variable}` }
    const { kind, rest } = caffeLayer(name, false)
    return { ...made, name: `${kind === 'conv' ? conv(rest) : norm('bn', rest)}/${variable}` }
  })
}

export const keras1: Rename = tensor =>
  kerasUntil2018(tensor).map(made => {
    const [layer, variable] = made.name.split('/') as [string, string]
    const names = { kernel: 'W', bias: 'b', moving_mean: 'running_mean', moving_variance: 'running_std' }
    return { ...made, name: `${layer}/${layer}_${names[variable as keyof typeof names] ?? variable}` }
  })

/** Stems of three convolutions, which PaddleClas counts from 1: what the plain ones do with the rest. */
const vd =
  (
    rename: Rename,
    stem: (k: number, kind: 'conv' | 'bn') => string,
    leaves: readonly string[],
    pools = true,
  ): Rename =>
  tensor => {
    // An average pool has no tensors, and no number in names of Paddle.
    const name = pools
      ? tensor.name.replace(/downsample\.([12])/, (_, i) => `downsample.${Number(i) - 1}`)
      : tensor.name
    const at = ['conv1.0.', 'conv1.1.', 'conv1.3.', 'conv1.4.', 'conv1.6.', 'bn1.'].findIndex(layer =>
      name.startsWith(layer),
    )
    if (at === -1) return rename({ ...tensor, name })
    const kind = at % 2 === 0 ? 'conv' : 'bn'
    const number = ['weight', 'bias', 'running_mean', 'running_var'].indexOf(leaf(name))
    const ofNorm = leaves[number]!
    return [{ ...tensor, name: stem(Math.floor(at / 2) + 1, kind) + (kind === 'conv' ? leaves[4] : ofNorm) }]
  }

const leavesOfLayers = ['.weight', '.bias', '._mean', '._variance', '.weight']

const stemOfDygraph = (k: number, kind: 'conv' | 'bn') =>
  `conv1_${k}.${kind === 'conv' ? '_conv' : '_batch_norm'}`

export const paddleDygraphVd = vd(paddleDygraph, stemOfDygraph, leavesOfLayers)
export const paddleDygraphVc = vd(paddleDygraph, stemOfDygraph, leavesOfLayers, /*pools=*/ false)

export const paddleClasBlocksVd = (blocks: readonly number[]): Rename =>
  vd(paddleClasBlocks(blocks), (k, kind) => `stem.${k - 1}.${kind}`, leavesOfLayers)

export const paddleClasVd = vd(paddleClas, (k, kind) => (kind === 'conv' ? `conv1_${k}` : `bnv1_${k}`), [
  '_scale',
  '_offset',
  '_mean',
  '_variance',
  '_weights',
])

const next =
  (rename: Rename): Rename =>
  tensor =>
    rename(tensor).map(made => ({
      ...made,
      name: replaceAll(made.name, [
        [/^conv1_weights$/, 'res_conv1_weights'],
        [/^fc_0\.w_0$/, 'fc_weights'],
        [/^fc_0\.b_0$/, 'fc_offset'],
      ]),
    }))

export const paddleClasNext = next(paddleClas)
export const paddleClasNextVd = next(paddleClasVd)

export const prefixed = (prefix: string): Rename => renamed([[/^/, prefix]])

export const openMMLab = renamed([
  [/^(?!fc)/, 'backbone.'],
  [/^fc\./, 'head.fc.'],
])
