// A benchmark as an SVG: a group of bars per case, a bar per engine, each labelled with its ratio.
import { threadsText } from './case-name.ts'
import { kernelsText, type Report } from './report.ts'

const width = 900
const [left, right] = [210, 260]
const lineHeight = 16
const [bar, gap] = [16, 22] // heights
const colours = ['#c2410c', '#475569', '#0e7490', '#7c3aed', '#4d7c0f', '#be185d', '#1d4ed8', '#a16207']
const grey = '#64748b'
const halo = 'paint-order="stroke" stroke="#ffffff" stroke-width="3"' // for text that may cross a line
const maxTicks = 6
const longestName = 28 // characters: what fits to the left
const longestLine = 110 // characters: what fits across

/** Bars are GFLOP/s; a dashed line across each group is the FMA peak on its threads. Takes one case at least. */
export function chartSvg(report: Report): string {
  const { machine, date, versions, cases } = report
  const engines = [...new Set(cases.flatMap(({ results }) => results.map(({ engine }) => engine)))]
  const largest = Math.max(
    ...cases.flatMap(({ peak, results }) => [
      peak.before,
      peak.after,
      ...results.map(({ gflops }) => gflops),
    ]),
  )
  const step = tickStep(largest)
  const ticks = Array.from({ length: Math.ceil(largest / step) + 1 }, (_, i) => i * step)
  const x = (gflops: number) => left + (gflops / ticks.at(-1)!) * (width - left - right)

  const heading = [
    `${machine.cpu}, ${kernelsText(report)}, ${date.slice(0, 10)}`,
    ...joined(Object.entries(versions).map(([name, version]) => `${name} ${version}`)),
    "Dashed: peak multiply-adds of the threads, in registers. Ratio: the engine's time over residual's.",
    ...(cases.some(({ precision }) => precision !== 'fp32')
      ? ['Percent, in fewer bits than fp32: images to which it gives the class that residual gives in fp32.']
      : []),
  ].map((content, i) => text(20, 48 + i * lineHeight, content, `fill="${grey}"`))
  const top = 56 + heading.length * lineHeight
  const marks: string[] = []
  let y = top
  for (const oneCase of cases) {
    const { results, peak, noise, precision } = oneCase
    const height = results.length * bar
    const what = `${threadsText(oneCase)}${noise.length > 0 ? ', noisy' : ''}`
    marks.push(
      text(left - 10, y + height / 2 - 3, shortened(oneCase.network), 'text-anchor="end" font-weight="bold"'),
      text(left - 10, y + height / 2 + 12, what, `text-anchor="end" fill="${grey}"`),
    )
    const peakAt = x(Math.max(peak.before, peak.after)).toFixed(1)
    marks.push(line(peakAt, y - 3, peakAt, y + height + 3, `stroke="${grey}" stroke-dasharray="4 3"`))
    for (const [i, { engine, gflops, milliseconds, ratio, agreement }] of results.entries()) {
      const label = [
        `${engine} ${milliseconds.median.toFixed(1)} ms`,
        ...(ratio ? [`ratio ${ratio.median.toFixed(2)}`] : []),
        ...(precision === 'fp32' ? [] : [`${(100 * agreement).toFixed(0)} %`]),
      ].join(', ')
      const at = y + i * bar
      const colour = colours[engines.indexOf(engine) % colours.length]
      marks.push(
        `<rect x="${left}" y="${at + 1}" width="${(x(gflops) - left).toFixed(1)}" height="${bar - 2}" fill="${colour}"/>`,
        text(x(gflops) + 5, at + bar - 4, label, `font-size="11" ${halo}`),
      )
    }
    y += height + gap
  }

  const axis = ticks.flatMap(tick => [
    line(x(tick), top - 8, x(tick), y, 'stroke="#e2e8f0"'),
    text(x(tick), y + 16, String(tick), `text-anchor="middle" fill="${grey}"`),
  ])
  const height = y + 48
  const middle = (left + width - right) / 2
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#0f172a">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(20, 28, 'GFLOP/s of plain convolution; longer is faster', 'font-size="17" font-weight="bold"'),
    ...heading,
    ...axis,
    ...marks,
    text(middle, y + 36, 'GFLOP/s', `text-anchor="middle" fill="${grey}"`),
    '</svg>\n',
  ].join('\n')
}

/** Joined by commas, wrapped over as many lines as needed. */
function joined(parts: readonly string[]): string[] {
  const lines: string[] = []
  for (const part of parts) {
    const longer = `${lines.at(-1)}, ${part}`
    if (lines.length > 0 && longer.length <= longestLine) lines[lines.length - 1] = longer
    else lines.push(part)
  }
  return lines
}

function shortened(name: string): string {
  return name.length > longestName ? `${name.slice(0, longestName - 1)}…` : name
}

/** 1, 2 or 5 times a power of ten, so that there are at most six ticks. */
function tickStep(largest: number): number {
  const power = 10 ** Math.floor(Math.log10(largest / maxTicks))
  return [1, 2, 5, 10].map(factor => factor * power).find(step => largest / step <= maxTicks)!
}

function text(x: number, y: number, content: string, attributes = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escaped}</text>`
}

function line(x1: number | string, y1: number, x2: number | string, y2: number, attributes: string): string {
  return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" ${attributes}/>`
}
