// An inspection as text for a terminal.
import type { Preprocessing } from '../../image/preprocess.ts'
import { alignColumns } from '../../model/format-plan.ts'
import { stepsText } from '../options/preprocessing-steps.ts'
import type { InspectedNetwork, Inspection, TensorStats } from './inspection.ts'

export function inspectionText({ path, format, bytes, sha256, tensors, network, stats }: Inspection): string {
  const types = Object.entries(tensors).map(
    ([dtype, { tensors: count, numbers }]) => `${count} ${dtype} of ${numbers.toLocaleString('en')} numbers`,
  )
  const rows = [
    ['file', `${path}, ${(bytes / 2 ** 20).toFixed(1)} MiB`],
    ['format', format],
    ['sha256', sha256],
    ['tensors', types.join(', ') || 'none'],
    ...('problem' in network ? [['network', `none: ${network.problem}`]] : networkRows(network)),
  ]
  const table = alignColumns(rows).join('\n')
  return stats ? `${table}\n\n${statsTable(stats)}` : table
}

const labelsShown = 5

function networkRows(network: InspectedNetwork): string[][] {
  const { scheme, prefix, architecture, labels, labelsFrom, activation, preprocessing, kept, unquantized } =
    network
  const whose =
    labelsFrom === 'imagenet' ? " (ImageNet-1k's, assumed because there are 1000 and the model has none)" : ''
  const more = labels.length > labelsShown ? ', ...' : ''
  return [
    ['scheme', prefix === '' ? scheme : `${scheme}, prefix ${prefix}`],
    [
      'architecture',
      Object.entries(architecture)
        .map(([name, value]) => `${name} ${value}`)
        .join(', '),
    ],
    ['classes', `${labels.length}: ${labels.slice(0, labelsShown).join(', ')}${more}${whose}`],
    ['activation', activation],
    ['preprocessing', preprocessingText(preprocessing)],
    ...(kept ? [['quantization', quantizationText(kept)]] : []),
    ...(unquantized === undefined ? [] : [['quantization', `none: ${unquantized}`]]),
  ]
}

function quantizationText(kept: NonNullable<InspectedNetwork['kept']>): string {
  const others = Object.entries(kept).map(([op, precision]) => `${op} (${precision})`)
  return others.length === 0 ? 'int8' : `int8, except ${others.join(', ')}`
}

function preprocessingText(preprocessing: Preprocessing): string {
  const { steps, interpolation, channels = 'RGB', range = 1, mean, std, cropRounding } = preprocessing
  const rounding = cropRounding === 'down' ? ', rounded down' : ''
  return `${stepsText(steps)} (${interpolation}${rounding}); ${channels}, 0..${range}, mean ${mean.join(' ')}, std ${std.join(' ')}`
}

const bars = ' ▁▂▃▄▅▆▇█'

function statsTable(stats: readonly TensorStats[]): string {
  const digits = (value: number) => value.toPrecision(4)
  const rows = stats.map(({ name, dtype, shape, min, max, mean, std, histogram }) => {
    const most = Math.max(...histogram)
    const bar = (count: number) => bars[Math.ceil((count / most) * (bars.length - 1))]
    const text = `|${histogram.map(bar).join('')}|`
    return [name, `${dtype} [${shape.join(',')}]`, ...[min, max, mean, std].map(digits), text]
  })
  return alignColumns(
    [['tensor', 'type', 'min', 'max', 'mean', 'std', 'from min to max'], ...rows],
    [2, 3, 4, 5],
  ).join('\n')
}
