// The building blocks of ResNets: stems, and residual blocks with their shortcuts.
import { checkNames, type Names } from '../base/options.ts'
import type { Value } from './graph.ts'
import { add, convBN, defaultEpsilon, localAvgPool, relu } from './layers.ts'

/** The names of a stem's convolutions and batch normalisations: torchvision's, and timm's, which has ReLUs at the numbers between. */
export const stemNames = {
  plain: [{ conv: 'conv1', bn: 'bn1' }],
  deep: [
    { conv: 'conv1.0', bn: 'conv1.1' },
    { conv: 'conv1.3', bn: 'conv1.4' },
    { conv: 'conv1.6', bn: 'bn1' },
  ],
} as const

/** One 7x7 convolution, or three 3x3. */
export function stem(
  x: Value,
  {
    channels,
    deepStem,
    epsilon,
  }: { channels: number; deepStem: readonly [number, number] | undefined; epsilon: number },
): Value {
  if (!deepStem) return convBN(x, { names: stemNames.plain[0], channels, kernel: 7, stride: 2, epsilon })
  const [first, second] = deepStem
  const [a, b, c] = stemNames.deep
  let y = convBN(x, { names: a, channels: first, kernel: 3, stride: 2, epsilon })
  y = convBN(y, { names: b, channels: second, kernel: 3, epsilon })
  return convBN(y, { names: c, channels, kernel: 3, epsilon })
}

export interface BlockOptions {
  /** Prefix of the parameters' names, such as `layer1.0`. */
  readonly name: string
  /** Channels of the inner convolutions. */
  readonly inner: number
  /** Channels of the result. */
  readonly channels: number
  readonly stride: number
  /** Whether the shortcut is a projection even where it need not be. */
  readonly project?: boolean
  /** Whether a projection has its stride on an average pool before it: ResNet-D. */
  readonly averagedShortcut?: boolean
  /** Of the batch normalisations. */
  readonly epsilon?: number
}

/** Of both kinds of block: whoever chooses between them has one set of options. */
const blockNames = {
  name: true,
  inner: true,
  channels: true,
  stride: true,
  project: true,
  averagedShortcut: true,
  epsilon: true,
  groups: true,
  strideOn: true,
} as const satisfies Names<Parameters<typeof bottleneck>[1]>

/** The block of ResNet-50 and deeper: 1x1, 3x3, 1x1, and the shortcut added before the last ReLU. */
export function bottleneck(
  x: Value,
  options: BlockOptions & { readonly groups: number; readonly strideOn: '1x1' | '3x3' },
): Value {
  checkNames(options, blockNames)
  const { name, inner, channels, stride, epsilon = defaultEpsilon, groups, strideOn } = options
  const [first, second] = strideOn === '1x1' ? [stride, 1] : [1, stride]
  const names = (i: number) => ({ conv: `${name}.conv${i}`, bn: `${name}.bn${i}` })
  let y = convBN(x, { names: names(1), channels: inner, kernel: 1, stride: first, epsilon })
  y = convBN(y, { names: names(2), channels: inner, kernel: 3, stride: second, groups, epsilon })
  y = convBN(y, { names: names(3), channels, kernel: 1, epsilon, activation: null })
  return relu(add(y, shortcut(x, options)))
}

/** The block of ResNet-18 and -34: two 3x3, the first with the stride, and the shortcut added before the last ReLU. */
export function basicBlock(x: Value, options: BlockOptions): Value {
  checkNames(options, blockNames)
  const { name, inner, channels, stride, epsilon = defaultEpsilon } = options
  const names = (i: number) => ({ conv: `${name}.conv${i}`, bn: `${name}.bn${i}` })
  let y = convBN(x, { names: names(1), channels: inner, kernel: 3, stride, epsilon })
  y = convBN(y, { names: names(2), channels, kernel: 3, epsilon, activation: null })
  return relu(add(y, shortcut(x, options)))
}

/** The input itself, or where shapes differ, or `project` says so, a 1x1 projection of it. */
function shortcut(x: Value, options: BlockOptions): Value {
  const { name, channels, stride, project = false, epsilon = defaultEpsilon } = options
  if (stride === 1 && x.channels === channels && !project) return x
  if (options.averagedShortcut) {
    const names = { conv: `${name}.downsample.1`, bn: `${name}.downsample.2` } // 0 is the pool
    const pooled = stride === 1 ? x : localAvgPool(x, { kernel: stride })
    return convBN(pooled, { names, channels, kernel: 1, epsilon, activation: null })
  }
  const names = { conv: `${name}.downsample.0`, bn: `${name}.downsample.1` }
  return convBN(x, { names, channels, kernel: 1, stride, epsilon, activation: null })
}
