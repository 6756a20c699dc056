// A quantization's report as a file: HTML that needs no other file, Markdown with its chart beside it, or JSON.
import { basename } from 'node:path'
import { jsonText } from '../base/text.ts'
import { outOfRange, ResidualError } from '../errors.ts'
import { checkWritable, writeAtomically } from '../files/atomic-file.ts'
import { escaped } from './escaped.ts'
import { noiseSvg } from './noise-chart.ts'
import type { QuantizeReport } from './report.ts'
import { reportMarkdown, sectionsOf, titleOf, unreadableLines } from './report-text.ts'

const formats = /\.(html|md|json)$/

/** @throws RangeError for another extension, ResidualError FILE_WRITE_FAILED if it is not likely to succeed */
export async function checkReportPath(path: string): Promise<void> {
  if (!formats.test(path)) throw outOfRange('a name that ends in .html, .md or .json', 'report', path)
  await checkWritable(path)
}

/**
 * Writes a report in the format that the extension of `path` says.
 *
 * @throws ResidualError FILE_WRITE_FAILED
 */
export async function writeReport(path: string, report: QuantizeReport): Promise<void> {
  const chart = noiseSvg(report.noise, new Set(report.kept.map(({ name }) => name)))
  const write = (to: string, text: string) => writeAtomically(to, handle => handle.writeFile(text))
  const [format] = formats.exec(path)?.slice(1) ?? []
  if (format === 'html') return write(path, reportHtml(report, chart))
  if (format === 'json') return write(path, `${jsonText(plainReport(report), 2)}\n`)
  const chartPath = `${path.slice(0, -'.md'.length)}.svg`
  await write(chartPath, chart)
  await write(path, reportMarkdown(report, encodeURI(basename(chartPath))))
}

/** The report without errors as objects, and with `null` for an infinite ratio, for JSON. */
export function plainReport(report: QuantizeReport): object {
  const unreadable = report.images.unreadable.map(({ image, error }) => ({
    image,
    error: error.message,
    ...(error instanceof ResidualError && { code: error.code }),
  }))
  const noise = report.noise.map(({ name, decibels }) => ({
    name,
    decibels: Number.isFinite(decibels) ? decibels : null,
  }))
  return { ...report, images: { ...report.images, unreadable }, noise }
}

const style =
  'body{font:15px sans-serif;max-width:920px;margin:2em auto;color:#0f172a}table{border-collapse:collapse}' +
  'td,th{padding:2px 12px 2px 0;text-align:left;border-bottom:1px solid #e2e8f0}svg{max-width:100%;height:auto}'

function reportHtml(report: QuantizeReport, chart: string): string {
  const row = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map(cell => `<${tag}>${escaped(cell)}</${tag}>`).join('')}</tr>`
  const sections = sectionsOf(report).map(({ title, head, rows }) => {
    const heading = head.some(Boolean) ? row(head, 'th') : ''
    const picture = title.startsWith('Signal') ? chart : ''
    return `<h2>${escaped(title)}</h2>\n${picture}<table>\n${heading}${rows.map(cells => row(cells, 'td')).join('\n')}\n</table>`
  })
  const unreadable = unreadableLines(report).map(line => `<p>${escaped(line)}</p>`)
  const title = escaped(titleOf(report))
  return [
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title><style>${style}</style>`,
    `<h1>${title}</h1>`,
    ...sections,
    ...unreadable,
    '</html>\n',
  ].join('\n')
}
