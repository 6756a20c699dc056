// Readers of a tensor's data, from front to back, however the file stores it.
import { invalidCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import type { ByteSource } from '../../checkpoint/checkpoint-file.ts'
import { FileBytes, JoinedData, type LongText, type StoredData } from './stored-data.ts'

/** Fills `target` with the bytes from `position` of the data on. */
export type DataReader = (target: Uint8Array, position: number) => Promise<void>

const pieceBytes = 1 << 20 // of text decoded at a time

/** A reader for one tensor, once. */
export function readerOf(source: ByteSource, data: StoredData): DataReader {
  if (typeof data === 'string') return stringReader(data)
  if (data instanceof FileBytes) return (target, position) => source.read([target], data.at + position)
  if (data instanceof JoinedData) return joinedReader(source, data)
  if (data.encoding === 'latin1') return (target, position) => source.read([target], data.at + position)
  return utf8Reader(source, data)
}

function stringReader(text: string): DataReader {
  return async (target, position) => {
    for (let i = 0; i < target.length; i++) target[i] = text.charCodeAt(position + i)
  }
}

function joinedReader(source: ByteSource, { parts }: JoinedData): DataReader {
  const readers = parts.map(({ data }) => readerOf(source, data))
  return async (target, position) => {
    let begin = 0 // of the part within the whole
    for (const [i, { bytes }] of parts.entries()) {
      const from = Math.max(position, begin)
      const to = Math.min(position + target.length, begin + bytes)
      if (from < to) await readers[i]!(target.subarray(from - position, to - position), from - begin)
      begin += bytes
    }
  }
}

/** Bytes stored as text by protocol 2: bytes from 128 on take two. Seeking back starts over. */
function utf8Reader(source: ByteSource, { at, length }: LongText): DataReader {
  const piece = Buffer.alloc(Math.min(pieceBytes, length))
  const state = { taken: 0, pieceAt: 0, pieceEnd: 0, done: 0 } // taken: of the file's bytes; done: decoded ones
  const bad = () => invalidCheckpoint(source, "an array's bytes are not latin1 text")
  async function next(): Promise<number> {
    if (state.pieceAt === state.pieceEnd) {
      const bytes = piece.subarray(0, Math.min(piece.length, length - state.taken))
      if (bytes.length === 0)
        throw invalidCheckpoint(source, 'an array has fewer bytes than its shape requires')
      await source.read([bytes], at + state.taken)
      state.taken += bytes.length
      state.pieceAt = 0
      state.pieceEnd = bytes.length
    }
    return piece[state.pieceAt++]!
  }
  return async (target, position) => {
    if (position < state.done) Object.assign(state, { taken: 0, pieceAt: 0, pieceEnd: 0, done: 0 })
    for (; state.done < position + target.length; state.done++) {
      let byte = state.pieceAt < state.pieceEnd ? piece[state.pieceAt++]! : await next()
      if (byte >= 0x80) {
        const second = state.pieceAt < state.pieceEnd ? piece[state.pieceAt++]! : await next()
        if ((byte !== 0xc2 && byte !== 0xc3) || (second & 0xc0) !== 0x80) throw bad()
        byte = ((byte & 3) << 6) | (second & 0x3f)
      }
      if (state.done >= position) target[state.done - position] = byte
    }
  }
}
