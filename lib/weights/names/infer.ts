// Inference of a ResNet's options from its tensors, under our names, which are torchvision's.
import { ResidualError } from '../../errors.ts'
import { stemNames } from '../../model/blocks.ts'
import { bottleneckExpansion, findLayers, type ResNetOptions, resnet } from '../../model/resnet.ts'
import type { WeightSource } from '../source.ts'

const stemWidth = 64 // of the stem and of the first stage, at width 1
const lastWidth = 512 // of the last stage, where rounding changes the width least

/**
 * The options of the ResNet whose tensors these are, from their names and shapes. v1 and v1.5 have the same tensors, so
 * `stride` is left to its default.
 *
 * @throws ResidualError CHECKPOINT_MISMATCH if they are not a ResNet's
 */
export function inferResNet(source: WeightSource): ResNetOptions {
  const options = guess(source)
  try {
    resnet(options)
    return options
  } catch (cause) {
    throw notResNet(source, (cause as Error).message, cause)
  }
}

/** The options suggested by the names and a few shapes; they may be invalid. */
function guess(source: WeightSource): ResNetOptions {
  const has = (name: string) => source.shape(name) !== undefined
  const [first, second, third] = stemNames.deep
  const isDeep = has(`${first.conv}.weight`)
  const stemName = `${(isDeep ? third : stemNames.plain[0]).conv}.weight`
  const stem = source.shape(stemName)
  const classifier = source.shape('fc.weight')
  if (!stem || !classifier) {
    const name = stem ? 'fc.weight' : stemName
    throw notResNet(source, `it has no ${source.origin?.(name) ?? name}`)
  }
  if (stem.length !== 4) throw notResNet(source, `${stemName} is malformed`)
  if (classifier.length !== 2) throw notResNet(source, 'fc.weight is malformed')

  const block = has('layer1.0.conv3.weight') ? 'bottleneck' : 'basic'
  const blocks = [1, 2, 3, 4].map(stage => {
    let count = 0
    while (has(`layer${stage}.${count}.conv1.weight`)) count++
    return count
  })
  const layers = findLayers(blocks, block)
  if (layers === undefined) throw notResNet(source, `it has stages of ${blocks.join('-')} ${block} blocks`)

  const result = (stage: number) => {
    const shape = source.shape(`layer${stage}.0.conv${block === 'basic' ? 2 : 3}.weight`)
    if (shape?.length !== 4) throw notResNet(source, `layer${stage}.0 is malformed`)
    return block === 'basic' ? shape[0]! : shape[0]! / bottleneckExpansion
  }
  const width = result(4) / lastWidth
  if (stem[0] !== Math.round(width * stemWidth))
    throw notResNet(source, 'its stem and its last stage differ in width')
  const deepStem = [first, second].map(({ conv }) => source.shape(`${conv}.weight`)?.[0] ?? 0) as [
    number,
    number,
  ]
  const common = { layers, classes: classifier[0]!, width, ...(isDeep && { deepStem }) }
  if (block === 'basic') {
    // The projection's convolution is its layer 0, or 1 after an average pool.
    const projectFirst = ['0', '1'].some(i => has(`layer1.0.downsample.${i}.weight`))
    return projectFirst ? { ...common, projectFirst } : common
  }
  const inner = source.shape('layer1.0.conv2.weight')
  if (inner?.length !== 4) throw notResNet(source, 'layer1.0 is malformed')
  const groups = inner[0]! / inner[1]!
  return { ...common, groups, widthPerGroup: Math.round((inner[1]! * stemWidth) / result(1)) }
}

function notResNet(source: WeightSource, reason: string, cause?: unknown): ResidualError {
  return new ResidualError(
    'CHECKPOINT_MISMATCH',
    `${source.description} does not hold a supported ResNet: ${reason}.`,
    { cause },
  )
}
