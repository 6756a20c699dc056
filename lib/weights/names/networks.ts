// The networks in a file, found by their tensors' names, and the choice among several.
import { ResidualError } from '../../errors.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { excerpt } from './excerpt.ts'
import type { Scheme } from './scheme.ts'
import { schemes } from './schemes.ts'

/** A network in a file. */
export interface FoundNetwork {
  readonly scheme: Scheme
  /** What stands before all its names: `state_dict.module.`, say. */
  readonly prefix: string
}

/** The one that is taken. */
export interface ChosenNetwork extends FoundNetwork {
  /** Prefixes of those that it was taken in place of. */
  readonly others: readonly string[]
}

/** Of schemes that differ in details the name of the first. */
const families = new Set(schemes.map(({ name }) => name.split(',')[0]))

/**
 * The network of a file. Where there are several it is the one whose names begin with `wanted`; without that the averaged one (`ema`),
 * as timm prefers it, if there is one beside a single other.
 *
 * @throws ResidualError CHECKPOINT_MISMATCH where there is none, or several and nothing says which
 */
export function findNetwork(file: Checkpoint, wanted?: string): ChosenNetwork {
  const all = networksIn(file)
  if (all.length === 0) throw noNetwork(file)
  const named = wanted === undefined ? all : all.filter(({ stem }) => isBehind(stem, wanted))
  const chosen = (one: FoundNetwork): ChosenNetwork => ({
    ...one,
    others: all.filter(other => other !== one).map(({ prefix }) => prefix),
  })
  if (named.length === 1) return chosen(named[0]!)
  const averaged = named.filter(({ prefix }) => isAveraged(prefix))
  if (averaged.length === 1 && named.length === 2) return chosen(averaged[0]!)
  const list = excerpt(all.map(({ prefix }) => (prefix === '' ? "''" : prefix)))
  const problem =
    named.length === 0
      ? `${file.path} has no network behind '${wanted}': there are those behind ${list}`
      : `${file.path} holds ${named.length} networks, behind ${list}`
  throw new ResidualError('CHECKPOINT_MISMATCH', `${problem}. Say which with --prefix, or 'prefix'.`)
}

/** Each with the name of its first layer, which no two share. */
function networksIn(file: Checkpoint): (FoundNetwork & { readonly stem: string })[] {
  const names = [...file.tensors.keys()]
  const found = new Map<string, FoundNetwork & { readonly stem: string }>()
  for (const scheme of schemes)
    for (const prefix of prefixes(file, names, scheme.marks)) {
      const stem = (prefix + scheme.marks[0]!).replace(/[./][^./]*$/, '')
      // Those that share names with others are asked first.
      const known = found.has(stem) || [...found.values()].some(each => each.prefix === prefix)
      if (!known) found.set(stem, { scheme, prefix, stem })
    }
  return [...found.values()]
}

/** All behind which the file has `marks`. */
function prefixes(file: Checkpoint, names: readonly string[], marks: readonly string[]): string[] {
  const [first, ...others] = marks as [string, ...string[]]
  return names
    .filter(name => name.endsWith(first))
    .map(name => name.slice(0, name.length - first.length))
    .filter(prefix => prefix === '' || /[./]$/.test(prefix))
    .filter(prefix => others.every(other => file.tensors.has(prefix + other)))
}

function isAveraged(prefix: string): boolean {
  return /(^|[._])ema[._]/.test(prefix)
}

/** Whether a name begins with these parts of one: `student` and `student.` are the same. */
function isBehind(name: string, parts: string): boolean {
  if (!name.startsWith(parts)) return false
  return parts === '' || /[./]$/.test(parts) || /[./]/.test(name[parts.length] ?? '')
}

function noNetwork(file: Checkpoint): ResidualError {
  const names = [...file.tensors.keys()]
  const some = names.length > 0 ? `${names.length} tensors, such as ${excerpt(names)}` : 'no tensors'
  return new ResidualError(
    'CHECKPOINT_MISMATCH',
    `${file.path} holds no ResNet that is known: it has ${some}. ` +
      `Known are the names of ${[...families].join('; ')}.`,
  )
}
