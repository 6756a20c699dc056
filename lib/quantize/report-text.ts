// A quantization's report as text: a few lines for a terminal, and the same with all tables as Markdown.
import { basename } from 'node:path'
import { alignColumns } from '../model/format-plan.ts'
import type { ClassReport, QuantizeReport } from './report.ts'

const mostClasses = 5
const mostOps = 5
const mostUnreadable = 10

const percent = (share: number) => `${(100 * share).toFixed(2)} %`
const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`
export const decibelsText = (decibels: number) => (Number.isFinite(decibels) ? decibels.toFixed(1) : 'exact')

interface Line {
  readonly about: string
  readonly text: string
}

/** What matters most. */
export function summaryOf(report: QuantizeReport): Line[] {
  const { images, agreement, accuracy, bytes, speed, isa, threads, method, isEqualised, kept } = report
  const same = Math.round(agreement.share * images.compared)
  const missed = agreement.share < agreement.wanted ? ', which is not reached' : ''
  const cost = kept.reduce((sum, { cost }) => sum + cost, 0)
  return [
    {
      about: 'images',
      text: `${images.calibrated} calibrated it (ranges by ${method}${isEqualised ? ', channels equalised' : ''}), ${images.compared} others compare it with float32`,
    },
    {
      about: 'agreement',
      text: `${same} of ${images.compared} keep their class: ${percent(agreement.share)} (wanted: ${percent(agreement.wanted)}${missed})`,
    },
    ...(accuracy
      ? [
          {
            about: 'accuracy',
            text: `${accuracy.after} of ${accuracy.images} right: ${percent(accuracy.after / accuracy.images)}; in float32 ${accuracy.before}: ${percent(accuracy.before / accuracy.images)}`,
          },
        ]
      : []),
    {
      about: 'kept',
      text:
        kept.length === 0
          ? 'all operations are in int8'
          : `${kept.length} ${kept.length === 1 ? 'operation' : 'operations'} in bf16, ${percent(cost)} of the arithmetic`,
    },
    { about: 'size', text: `${mebibytes(bytes.after)}, before ${mebibytes(bytes.before)}` },
    {
      about: 'speed',
      text: `${speed
        .map(
          ({ batch, before, after }) =>
            `batch ${batch}: ${after.toFixed(1)} ms, in float32 ${before.toFixed(1)} ms (${(before / after).toFixed(1)}x)`,
        )
        .join('; ')}; ${isa}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
    },
  ]
}

/** The classes that lose most images, and then those that agree least. */
export function worstClasses(classes: readonly ClassReport[]): ClassReport[] {
  const lost = ({ rightBefore, rightAfter, images }: ClassReport) => (rightBefore - rightAfter) / images
  const changed = ({ same, images }: ClassReport) => 1 - same / images
  return classes
    .filter(its => changed(its) > 0)
    .toSorted((a, b) => lost(b) - lost(a) || changed(b) - changed(a))
}

const classHead = ['class', 'images', 'right in float32', 'right in int8', 'same class']
const classRow = ({ label, images, rightBefore, rightAfter, same }: ClassReport) => [
  label,
  `${images}`,
  `${rightBefore}`,
  `${rightAfter}`,
  `${same}`,
]
const keptHead = ['operation', 'share of the arithmetic', 'error it takes off']
const keptRows = ({ kept }: QuantizeReport) =>
  kept.map(({ name, cost, saves }) => [name, percent(cost), percent(saves)])
const noiseHead = ['operation', 'signal to noise, dB']
const noiseRows = ({ noise }: QuantizeReport) =>
  noise.map(({ name, decibels }) => [name, decibelsText(decibels)])
const noisiest = (report: QuantizeReport) => ({
  ...report,
  noise: report.noise.toSorted((a, b) => a.decibels - b.decibels).slice(0, mostOps),
})

/** Images that could not be read, the first of them by name. */
export function unreadableLines({ images: { unreadable } }: QuantizeReport): string[] {
  if (unreadable.length === 0) return []
  const named = unreadable.slice(0, mostUnreadable).map(({ error }) => error.message)
  const others = unreadable.length - named.length
  const count = unreadable.length === 1 ? '1 image was' : `${unreadable.length} images were`
  return [`${count} left out:`, ...named, ...(others > 0 ? [`and ${others} more`] : [])]
}

/** For a terminal. */
export function reportText(report: QuantizeReport): string {
  const worst = worstClasses(report.classes ?? []).slice(0, mostClasses)
  const tables = [
    alignColumns(summaryOf(report).map(({ about, text }) => [about, text])),
    ...(report.kept.length > 0 ? ['', ...alignColumns([keptHead, ...keptRows(report)])] : []),
    ...(worst.length > 0 ? ['', ...alignColumns([classHead, ...worst.map(classRow)])] : []),
    '',
    ...alignColumns([noiseHead, ...noiseRows(noisiest(report))]),
  ]
  return tables.flat().join('\n')
}

export interface ReportSection {
  readonly title: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** All tables. */
export function sectionsOf(report: QuantizeReport): ReportSection[] {
  const classes = report.classes ?? []
  const others = classes.filter(its => !worstClasses(classes).includes(its))
  return [
    { title: 'Summary', head: ['', ''], rows: summaryOf(report).map(({ about, text }) => [about, text]) },
    { title: 'Kept in bf16', head: keptHead, rows: keptRows(report) },
    {
      title: 'Classes, those that lose most first',
      head: classHead,
      rows: [...worstClasses(classes), ...others].map(classRow),
    },
    { title: 'Signal to noise of every operation', head: noiseHead, rows: noiseRows(report) },
  ].filter(({ rows }) => rows.length > 0)
}

export const titleOf = ({ model, out }: QuantizeReport) => `${basename(out)}: ${basename(model)} in 8 bits`

/** `chart`: the path of the picture of the noise. */
export function reportMarkdown(report: QuantizeReport, chart: string): string {
  const cell = (text: string) => text.replaceAll('<', '&lt;').replaceAll('|', '\\|')
  const row = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  const sections = sectionsOf(report).flatMap(({ title, head, rows }) => [
    `## ${title}`,
    '',
    ...(title.startsWith('Signal') ? [`![Signal to noise](${chart})`, ''] : []),
    row(head),
    row(head.map(() => '---')),
    ...rows.map(row),
    '',
  ])
  const unreadable = unreadableLines(report).map((line, i) => (i === 0 ? line : `- ${line}`))
  return [`# ${titleOf(report)}`, '', ...sections, ...unreadable].join('\n').trimEnd().concat('\n')
}
