// Class labels in the forms that people keep them: lists, objects by index, the files that come with ImageNet.
import { quoted, ResidualError } from '../errors.ts'
import { namesBySynset } from './imagenet-names.ts'

/** Members that hold the labels. */
const members = [
  'labels',
  'label_names',
  'id2label',
  'idx_to_class',
  'class_to_idx',
  'label2id',
  'classes',
  'class_names',
]

/**
 * The labels in a value from JSON: `["tench", ...]`, `{"0": "tench", ...}`, `{"tench": 0, ...}`, with `["n01440764", "tench"]`
 * instead of a name (`imagenet_class_index.json`), or any of these in a member such as `id2label` or `class_to_idx`.
 *
 * @throws ResidualError MODEL_INVALID
 */
export function parseLabels(value: unknown, source: string): string[] {
  if (Array.isArray(value)) return value.map((label, i) => labelOf(label, i, source))
  if (typeof value !== 'object' || value === null)
    throw invalid(source, `are ${quoted(value)}, not a list or an object`)
  const entries = Object.entries(value)
  const member = members.find(
    name => Object.hasOwn(value, name) && typeof (value as never)[name] === 'object',
  )
  if (member !== undefined) return parseLabels((value as { [name: string]: unknown })[member], source)
  if (entries.length === 0) throw invalid(source, 'are empty')
  const named = entries.every(([, index]) => typeof index === 'number')
    ? entries.map(([label, index]) => [index, label] as const)
    : entries.map(([index, label]) => [/^\d+$/.test(index) ? Number(index) : index, label] as const)
  const byNumber = new Map<unknown, unknown>(named)
  return named.map((_, i) => {
    if (!byNumber.has(i)) throw invalid(source, `have none with index ${i}, of ${named.length}`)
    return labelOf(byNumber.get(i), i, source)
  })
}

/**
 * The labels in a file: JSON as for {@link parseLabels}, or text with one label per line, optionally after a WordNet id
 * (`n01440764 tench, Tinca tinca`); an id alone stands for ImageNet's name.
 *
 * @throws ResidualError MODEL_INVALID
 */
export function parseLabelFile(text: string, path: string): string[] {
  const content = text.replace(/^\ufeff/, '')
  if (/^\s*[[{]/.test(content)) {
    let json: unknown
    try {
      json = JSON.parse(content)
    } catch (cause) {
      const problem = `The labels in ${path} are not JSON: ${(cause as Error).message}`
      throw new ResidualError('MODEL_INVALID', `${problem}.`, { cause })
    }
    return parseLabels(json, path)
  }
  const lines = content.split(/\r?\n/).map(line => line.trim())
  while (lines.at(-1) === '') lines.pop()
  if (lines.length === 0) throw invalid(path, 'are empty')
  return lines.map((line, i) => labelOf(line, i, path))
}

function labelOf(value: unknown, i: number, source: string): string {
  const label = Array.isArray(value) && value.length === 2 ? value[1] : value
  if (typeof label !== 'string' || label === '') throw invalid(source, `have ${quoted(value)} at index ${i}`)
  const [, synset, name] = /^(n\d{8})(?:[\s,]+(.*))?$/.exec(label) ?? []
  return name || (synset === undefined ? label : (namesBySynset.get(synset) ?? label))
}

const invalid = (source: string, problem: string) =>
  new ResidualError('MODEL_INVALID', `The labels in ${source} ${problem}.`)
