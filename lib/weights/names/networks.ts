// The networks in a file, found by their tensors' names, and the choice among several.
import { ResidualError } from '../../errors.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { excerpt } from './name-list.ts'
import type { Scheme } from './scheme.ts'
import { schemes } from './schemes.ts'

/** A network in a file. */
export interface FoundNetwork {
  readonly scheme: Scheme
  /** The prefix of all its names, such as `state_dict.module.`. */
  readonly prefix: string
}

/** The chosen network. */
export interface ChosenNetwork extends FoundNetwork {
  /** Prefixes of the networks it was preferred to. */
  readonly others: readonly string[]
}

/** One name for schemes that differ only in details. */
const families = new Set(schemes.map(({ name }) => name.split(',')[0]))

/**
 * The network of a file. If there are several, it is the one whose names begin with `wanted`; without that, of two networks
 * the averaged one (`ema`), which timm prefers too.
 *
 * @throws ResidualError CHECKPOINT_MISMATCH if there is none, or several and nothing decides between them
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
      ? `${file.path} has no network with the prefix '${wanted}', only ${list}`
      : `${file.path} holds ${named.length} networks, with the prefixes ${list}`
  throw new ResidualError('CHECKPOINT_MISMATCH', `${problem}. Choose one with --prefix, or 'prefix'.`)
}

/** Each with the name of its first layer, which is unique. */
function networksIn(file: Checkpoint): (FoundNetwork & { readonly stem: string })[] {
  const names = [...file.tensors.keys()]
  const found = new Map<string, FoundNetwork & { readonly stem: string }>()
  for (const scheme of schemes)
    for (const prefix of prefixes(file, names, scheme.marks)) {
      const stem = (prefix + scheme.marks[0]!).replace(/[./][^./]*$/, '')
      // Schemes that share names with others come first.
      const known = found.has(stem) || [...found.values()].some(each => each.prefix === prefix)
      if (!known) found.set(stem, { scheme, prefix, stem })
    }
  return [...found.values()]
}

/** All prefixes under which the file has `marks`. */
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

/** Whether a name begins with these segments: `student` and `student.` are equivalent. */
function isBehind(name: string, parts: string): boolean {
  if (!name.startsWith(parts)) return false
  return parts === '' || /[./]$/.test(parts) || /[./]/.test(name[parts.length] ?? '')
}

function noNetwork(file: Checkpoint): ResidualError {
  const names = [...file.tensors.keys()]
  const some = names.length > 0 ? `${names.length} tensors, such as ${excerpt(names)}` : 'no tensors'
  return new ResidualError(
    'CHECKPOINT_MISMATCH',
    `${file.path} does not hold a known ResNet: it has ${some}. ` +
      `Known naming schemes: ${[...families].join('; ')}.`,
  )
}
