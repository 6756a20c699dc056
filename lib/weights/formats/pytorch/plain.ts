// The layout of PyTorch files before 1.6: five pickles in a row, then the storages. The pickles are a magic number, the version
// 1001, the machine, what was saved, and the storages' keys. A storage is its element count in 8 bytes, then the elements, always
// little-endian.
import { invalidCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import type { ByteSource } from '../../checkpoint/checkpoint-file.ts'
import { BufferedReader } from '../buffered-reader.ts'
import { readPickle } from '../pickle/read-pickle.ts'
import { persistentOf } from '../pickle/torch-globals.ts'
import { List, type Value } from '../pickle/values.ts'
import { elementBytes } from '../safetensors/header.ts'
import { FileBytes, Storage } from '../views/stored-data.ts'
import type { ViewCheckpoint } from '../views/view-checkpoint.ts'
import { checkpointOf } from './storages.ts'

const version = 1001
const nothing = () => undefined

/** Reads a file that begins with the magic number. */
export async function openPlainPyTorch(source: ByteSource): Promise<ViewCheckpoint> {
  const magic = await readPickle(source, nothing)
  const protocol = await readPickle(source, nothing, magic.end)
  if (protocol.value !== version) throw invalidCheckpoint(source, `its version is not ${version}`)
  const machine = await readPickle(source, nothing, protocol.end)
  const storages = new Map<string, Storage>()
  const remember = (id: Value) => {
    const storage = persistentOf(id)
    if (!(storage instanceof Storage)) return storage
    const known = storages.get(storage.key)
    if (known && known.dtype !== storage.dtype) return undefined
    storages.set(storage.key, storage)
    return storage
  }
  const saved = await readPickle(source, remember, machine.end)
  const keys = await readPickle(source, nothing, saved.end)
  const ranges = await rangesOf(source, keys.value, storages, keys.end)
  return checkpointOf(source, 'PyTorch (plain pickle)', saved, ({ key }) => {
    const range = ranges.get(key)
    if (!range)
      throw invalidCheckpoint(source, `it has no storage '${key}', where a tensor's numbers should be`)
    return range
  })
}

async function rangesOf(
  source: ByteSource,
  keys: Value,
  storages: ReadonlyMap<string, Storage>,
  begin: number,
): Promise<Map<string, FileBytes>> {
  if (!(keys instanceof List)) throw invalidCheckpoint(source, 'it does not list its storages')
  const window = new BufferedReader(source)
  const ranges = new Map<string, FileBytes>()
  let at = begin
  for (const key of keys.items) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined
    if (!storage) throw invalidCheckpoint(source, 'it has a storage that belongs to no tensor')
    if (ranges.has(storage.key)) throw invalidCheckpoint(source, `it has two storages '${storage.key}'`)
    if (at + 8 > source.size) throw ended(source)
    if (!window.has(at, 8)) await window.load(at)
    const numbers = Number(window.bytes.readBigInt64LE(at - window.start))
    const bytes = numbers * elementBytes[storage.dtype]!
    at += 8
    if (!(numbers >= 0 && bytes <= source.size - at)) throw ended(source)
    ranges.set(storage.key, new FileBytes(at, bytes))
    at += bytes
  }
  return ranges
}

function ended(source: ByteSource) {
  return invalidCheckpoint(source, 'it ends in the middle of a storage')
}
