// The tensors in an unpickled value, named by the keys of nested dictionaries, joined by dots.

import { labelsKey } from '../../checkpoint/checkpoint.ts'
import { invalidCheckpoint, refusedCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import type { ByteSource } from '../../checkpoint/checkpoint-file.ts'
import { isOfTraining } from '../../names/extra-tensors.ts'
import { TensorView } from '../views/tensor-view.ts'
import { attributesOf, type FoundModule, membersOfModule } from './modules.ts'
import type { Pickle } from './read-pickle.ts'
import { Dict, type Key, List, NumpyArray, Opaque, type Value } from './values.ts'
import { withoutTensors } from './without-tensors.ts'

const maxDepth = 32
const maxTensors = 200_000
const maxMetadata = 100
const maxMetadataText = 1000

export interface Found {
  readonly views: Map<string, TensorView>
  /** The strings, numbers and booleans at the top level. */
  readonly metadata: Map<string, string>
  /** The modules of a network that was saved as a whole. */
  readonly modules: readonly FoundModule[]
}

/**
 * Finds the tensors. The same dictionary may appear in several places, so a few bytes can stand for endless names: no more
 * places are visited than a file of this size could hold separately.
 *
 * @throws ResidualError CHECKPOINT_INVALID
 */
export function findTensors({ value, work, unknown }: Pickle, source: ByteSource): Found {
  const fail = (problem: string) => invalidCheckpoint(source, problem)
  const views = new Map<string, TensorView>()
  const modules: FoundModule[] = []
  let places = 4 * work
  let characters = 64 * work

  function visit(value: Value, name: string, depth: number): void {
    if (places-- <= 0)
      throw fail('its dictionaries contain each other and unfold to more entries than a file can hold')
    if (depth > maxDepth) throw fail(`its dictionaries are nested more than ${maxDepth} levels deep`)
    const view = viewOf(value)
    if (view) {
      characters -= name.length
      if (characters < 0 || views.size >= maxTensors) throw fail('it has more tensors than any checkpoint')
      if (views.has(name)) throw fail(`it has two tensors named '${name}'`)
      views.set(name, view)
      return
    }
    if (value instanceof Opaque && value.isTensor && !isOfTraining(name))
      throw refusedCheckpoint(
        source,
        `its '${name}' is made by ${value.name}, which is not supported${howElse(value)}`,
      )
    const attributes = attributesOf(value)
    if (attributes) modules.push({ name, className: (value as Opaque).name, attributes })
    for (const [key, member] of attributes ? membersOfModule(attributes) : membersOf(value))
      visit(member, name === '' ? `${key}` : `${name}.${key}`, depth + 1)
  }

  visit(value, '', 0)
  if (views.size === 0) {
    const reason = withoutTensors({ value, unknown }, source)
    throw reason === undefined ? fail('it contains no tensors') : refusedCheckpoint(source, reason)
  }
  return { views, metadata: metadataOf(value), modules }
}

/** pickle.dump embeds each tensor as a file of its own. */
function howElse({ name }: Opaque): string {
  if (name !== 'torch.storage._load_from_bytes') return ''
  return ': it was written by pickle.dump. Write it again with torch.save(pickle.load(open(path, "rb")), "model.pth")'
}

function viewOf(value: Value): TensorView | undefined {
  if (value instanceof TensorView) return value
  if (value instanceof NumpyArray) return value.view
  // Paddle saves a tensor outside of a state dict as a pair of name and numbers.
  if (
    Array.isArray(value) &&
    value.length === 2 &&
    typeof value[0] === 'string' &&
    value[1] instanceof NumpyArray
  )
    return value[1].view
  return undefined
}

function membersOf(value: Value): Iterable<readonly [unknown, Value]> {
  const dict = value instanceof Opaque ? value.items : value
  if (dict instanceof Dict) return dict.entries ?? []
  if (value instanceof List) return value.items.entries()
  return Array.isArray(value) ? (value as readonly Value[]).entries() : []
}

/**
 * Keys under which training code keeps class labels, in the top dictionary or in one directly below (`meta`, `hyper_parameters`).
 */
const labelKeys = ['class_to_idx', 'idx_to_class', 'id2label', 'classes', 'CLASSES', 'class_names', 'labels']
const maxLabels = 100_000
const labelDepth = 2

/** As JSON; undefined if there are none. */
function labelsIn(value: Value, depth = 0): string | undefined {
  if (!(value instanceof Dict)) return undefined
  const entries = value.entries ?? new Map<Key, Value>()
  for (const key of labelKeys) {
    const found = plain(entries.get(key))
    if (found !== undefined) return JSON.stringify(found)
  }
  if (depth === labelDepth || entries.size > maxMetadata) return undefined
  for (const member of entries.values()) {
    const found = labelsIn(member, depth + 1)
    if (found !== undefined) return found
  }
  return undefined
}

/** A list of strings, or a dictionary of strings and numbers. */
function plain(value: Value | undefined): object | undefined {
  if (value instanceof Dict) {
    const entries = [...(value.entries ?? [])].slice(0, maxLabels)
    const named = entries.every(([key, member]) => typeof key === 'string' && typeof member === 'number')
    const numbered = entries.every(([key, member]) => typeof key !== 'boolean' && typeof member === 'string')
    return entries.length > 0 && (named || numbered) ? Object.fromEntries(entries) : undefined
  }
  const items = value instanceof List ? value.items : Array.isArray(value) ? (value as readonly Value[]) : []
  const isList =
    items.length > 0 && items.length <= maxLabels && items.every(item => typeof item === 'string')
  return isList ? [...items] : undefined
}

function metadataOf(value: Value): Map<string, string> {
  const metadata = new Map<string, string>()
  if (!(value instanceof Dict)) return metadata
  for (const [key, member] of value.entries ?? []) {
    if (typeof member !== 'string' && typeof member !== 'number' && typeof member !== 'boolean') continue
    if (metadata.size < maxMetadata) metadata.set(`${key}`, `${member}`.slice(0, maxMetadataText))
  }
  const labels = labelsIn(value)
  if (labels !== undefined) metadata.set(labelsKey, labels)
  return metadata
}
