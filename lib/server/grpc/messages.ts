// Incoming gRPC messages, read whole and decompressed under a limit. grpc-js itself would decompress any number at a time,
// uncounted.
import type { ServerHttp2Stream } from 'node:http2'
import { ByteCollector } from '../limits/byte-collector.ts'

const headerBytes = 5 // the compression flag and the length

/** Accounting and decompression of one message. */
export interface MessageCount {
  /** Counts bytes before they are kept; false if the call has ended and needs no more. */
  take(bytes: number): boolean
  unpack(packed: Buffer): Promise<Buffer>
}

export interface Incoming {
  /** The limit of a message; grpc-js refuses longer ones by their header. */
  readonly mostBytes: number
  /** Whether several messages are allowed; if not, anything after the first is counted with it and discarded. */
  readonly several: boolean
  /** Called at the first byte of each message. */
  open(): MessageCount
  /** Called when a message is complete. */
  whole?(): void
  /** Called when decompression failed. */
  fail(error: unknown): void
}

/** A message that is arriving. */
interface Arriving {
  readonly count: MessageCount
  readonly header: Buffer
  headerLength: number
  /** Known once the header has arrived. */
  length: number
  body: ByteCollector | undefined
}

/**
 * Intercepts the existing listeners of `stream`: they get each message of the call once it is complete, decompressed, and the
 * stream's end after the last.
 */
export function receiveMessages(stream: ServerHttp2Stream, incoming: Incoming): void {
  const { mostBytes, several, open, whole, fail } = incoming
  const forward = (event: 'data' | 'end') => {
    const listeners = stream.listeners(event)
    stream.removeAllListeners(event)
    return (...values: unknown[]) => {
      for (const listener of listeners) listener.call(stream, ...values)
    }
  }
  const [onData, onEnd] = [forward('data'), forward('end')]
  let arriving: Arriving | undefined
  let last: MessageCount | undefined // nothing after it is needed
  let delivered: Promise<void> | undefined

  const deliver = async ({ count, header, body }: Arriving) => {
    let bytes = body!.whole()
    if (header[0] === 1) {
      bytes = await count.unpack(bytes)
      header.writeUInt32BE(bytes.length, 1)
      header[0] = 0
    }
    onData(Buffer.concat([header, bytes]))
  }
  const inTurn = (task: () => Promise<void> | void) => {
    delivered = (delivered ? delivered.then(task) : (async () => task())()).catch(fail)
  }
  /** Takes the bytes of `chunk` that belong to the arriving message; returns their number, or 0 if no more are needed. */
  const takeFrom = (chunk: Buffer): number => {
    arriving ??= {
      count: open(),
      header: Buffer.alloc(headerBytes),
      headerLength: 0,
      length: 0,
      body: undefined,
    }
    const message = arriving
    const missing = message.body ? message.length - message.body.length : headerBytes - message.headerLength
    const part = chunk.subarray(0, missing)
    if (!message.count.take(part.length)) return 0
    if (message.body) message.body.add(part)
    else {
      part.copy(message.header, message.headerLength)
      message.headerLength += part.length
      if (message.headerLength < headerBytes) return part.length
      message.length = message.header.readUInt32BE(1)
      if (message.length > mostBytes) {
        last = message.count
        inTurn(() => onData(message.header))
        return part.length
      }
      message.body = new ByteCollector(message.length)
    }
    if (message.body.length < message.length) return part.length
    arriving = undefined
    if (!several) last = message.count
    whole?.()
    inTurn(() => deliver(message))
    return part.length
  }
  stream.on('data', (chunk: Buffer) => {
    for (let rest = chunk; rest.length > 0; ) {
      if (last) {
        last.take(rest.length)
        return
      }
      const taken = takeFrom(rest)
      if (taken === 0) return
      rest = rest.subarray(taken)
    }
  })
  stream.once('end', async () => {
    await delivered
    onEnd()
  })
}
