// How do the messages of gRPC come in? Whole and unpacked: grpc-js would unpack any number at a time, counting nothing.
import type { ServerHttp2Stream } from 'node:http2'
import { ByteCollector } from './byte-collector.ts'

const headerBytes = 5 // whether it is packed, and its length

export interface Incoming {
  /** Of a message; grpc-js refuses longer ones by their header. */
  readonly mostBytes: number
  /** Is told of every byte before it is kept; false where the call has ended and no more is wanted. */
  take(bytes: number): boolean
  unpack(packed: Buffer): Promise<Buffer>
  /** Is told why unpacking failed. */
  fail(error: unknown): void
}

/**
 * Stands between `stream` and who listens to it already: those hear of the one message of the call once it is whole, as one that
 * is not packed, and of the stream's end after it. What follows the message is counted and forgotten.
 */
export function receiveMessage(stream: ServerHttp2Stream, { mostBytes, take, unpack, fail }: Incoming): void {
  const forward = (event: 'data' | 'end') => {
    const listeners = stream.listeners(event)
    stream.removeAllListeners(event)
    return (...values: unknown[]) => {
      for (const listener of listeners) listener.call(stream, ...values)
    }
  }
  const [onData, onEnd] = [forward('data'), forward('end')]
  const header = Buffer.alloc(headerBytes)
  let headerLength = 0
  let length = 0
  let message: ByteCollector | undefined
  let delivered: Promise<void> | undefined

  const deliver = async (whole: Buffer) => {
    const packed = header[0] === 1
    const body = packed ? await unpack(whole) : whole
    if (packed) header.writeUInt32BE(body.length, 1)
    header[0] = 0
    onData(Buffer.concat([header, body]))
  }
  stream.on('data', (chunk: Buffer) => {
    if (!take(chunk.length) || delivered) return
    let rest = chunk
    if (headerLength < headerBytes) {
      const copied = rest.copy(header, headerLength)
      headerLength += copied
      rest = rest.subarray(copied)
      if (headerLength < headerBytes) return
      length = header.readUInt32BE(1)
      if (length > mostBytes) {
        delivered = Promise.resolve()
        return onData(header)
      }
    }
    message ??= new ByteCollector(length)
    message.add(rest.subarray(0, length - message.length))
    if (message.length === length) delivered = deliver(message.whole()).catch(fail)
  })
  stream.once('end', async () => {
    await delivered
    onEnd()
  })
}
