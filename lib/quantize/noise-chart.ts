// The signal-to-noise ratio of every operation as an SVG: a bar each, in the order of the network.
import { escaped } from './escaped.ts'
import type { OpNoise } from './noise.ts'
import { decibelsText } from './report-text.ts'

const width = 900
const [left, right, top] = [210, 60, 56]
const [bar, gap] = [11, 3] // heights
const tickStep = 10 // dB
const longestName = 32 // characters: what fits to the left

/** `kept`: the operations that are not in int8, which are drawn in another colour. */
export function noiseSvg(noise: readonly OpNoise[], kept: ReadonlySet<string>): string {
  const finite = noise.map(({ decibels }) => decibels).filter(Number.isFinite)
  const largest = Math.max(tickStep, ...finite)
  const end = Math.ceil(largest / tickStep) * tickStep
  const x = (decibels: number) => left + (Math.min(Math.max(decibels, 0), end) / end) * (width - left - right)
  const bottom = top + noise.length * (bar + gap)
  const ticks = Array.from({ length: end / tickStep + 1 }, (_, i) => i * tickStep)
  const axis = ticks.flatMap(tick => [
    `<line x1="${x(tick)}" y1="${top - 6}" x2="${x(tick)}" y2="${bottom}" stroke="#e2e8f0"/>`,
    text(x(tick), bottom + 14, `${tick}`, 'text-anchor="middle"'),
  ])
  const bars = noise.flatMap(({ name, decibels }, i) => {
    const y = top + i * (bar + gap)
    const colour = kept.has(name) ? '#c2410c' : '#0e7490'
    return [
      text(left - 8, y + bar - 2, shortened(name), 'text-anchor="end"'),
      `<rect x="${left}" y="${y}" width="${(x(decibels) - left).toFixed(1)}" height="${bar}" fill="${colour}"/>`,
      text(x(decibels) + 5, y + bar - 2, decibelsText(decibels), 'fill="#64748b"'),
    ]
  })
  const height = bottom + 36
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="10" fill="#0f172a">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(20, 24, 'Signal to noise of every operation; longer is better', 'font-size="15"'),
    text(20, 40, kept.size > 0 ? 'Orange: kept in bf16' : 'All operations are in int8', 'fill="#64748b"'),
    ...axis,
    ...bars,
    text((left + width - right) / 2, bottom + 28, 'dB', 'text-anchor="middle"'),
    '</svg>\n',
  ].join('\n')
}

const shortened = (name: string) => (name.length > longestName ? `…${name.slice(1 - longestName)}` : name)

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escaped(content)}</text>`
}
