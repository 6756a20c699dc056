// Downloads over an unreliable network: retried, each attempt resuming where the last one stopped.
import { pipeline } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { createGunzip } from 'node:zlib'
import { ResidualError } from '../errors.ts'
import type { Part } from './part.ts'
import { prepare } from './prepare.ts'
import { type Answer, type Stated, TransientFailure, type Transport } from './transport.ts'

export interface Progress {
  /** Bytes received, including those of earlier attempts and runs. */
  readonly received: number
  /** Bytes in all; undefined if the server does not say. */
  readonly total: number | undefined
}

export interface DownloadOptions {
  readonly signal: AbortSignal | undefined
  readonly onProgress: ((progress: Progress) => void) | undefined
  /** Called before each retry, with the reason. */
  readonly onRetry: ((reason: string, waitMs: number) => void) | undefined
  /** Retries after the first attempt; an attempt that brings a mebibyte or more resets the count. */
  readonly retries: number
  /** Wait before the first retry; doubled with each. */
  readonly retryMs: number
  /** An attempt ends if no data arrives for this long. */
  readonly stallMs: number
  /** Throws to refuse what a server says it will send. */
  readonly accept: (stated: Stated) => void
}

const progressBytes = 2 ** 20 // of an attempt that counts as progress
const maxWaitMs = 60_000
const maxBytes = 2 ** 33 // of files of unknown length

/**
 * Downloads all of `url` into `part`.
 *
 * @throws ResidualError DOWNLOAD_FAILED, FILE_WRITE_FAILED, what `accept` throws; the signal's reason. Received bytes are kept
 */
export async function download(
  transport: Transport,
  url: string,
  part: Part,
  options: DownloadOptions,
): Promise<void> {
  const { signal, onRetry, retries, retryMs } = options
  for (let failures = 0; ; ) {
    const before = part.received
    try {
      return await attempt(transport, url, part, options)
    } catch (error) {
      signal?.throwIfAborted()
      if (!(error instanceof TransientFailure)) throw error
      failures = part.received - before >= progressBytes ? 1 : failures + 1
      if (failures > retries) throw gaveUp(url, part, failures, error)
      const waitMs = Math.min(maxWaitMs, Math.max(retryMs * 2 ** (failures - 1), error.retryAfterMs))
      onRetry?.(error.message, waitMs)
      await delay(waitMs, undefined, signal ? { signal } : {}).catch(() => {})
      signal?.throwIfAborted()
    }
  }
}

async function attempt(
  transport: Transport,
  url: string,
  part: Part,
  options: DownloadOptions,
): Promise<void> {
  const stall = new AbortController()
  const clock = setTimeout(() => stall.abort(), options.stallMs)
  const signal = options.signal ? AbortSignal.any([options.signal, stall.signal]) : stall.signal
  const { received, note } = part
  const etag = received > 0 && note?.url === url ? note.etag : undefined
  const range = etag === undefined ? undefined : { range: `bytes=${received}-`, 'if-range': etag }
  try {
    const answer = await transport.get(url, { 'accept-encoding': 'identity', ...range }, signal)
    answer.body.on('error', () => {}) // a reader gets the error; here there may be none
    try {
      if (await prepare(url, answer, part, options.accept)) await receive(url, answer, part, options, clock)
    } finally {
      answer.body.destroy()
    }
  } catch (error) {
    if (error instanceof ResidualError || error instanceof TransientFailure) throw error
    const message = stall.signal.aborted
      ? `no data for ${options.stallMs / 1000} s`
      : reasonOf(error as Error)
    throw new TransientFailure(message, 0, { cause: error })
  } finally {
    clearTimeout(clock)
  }
}

async function receive(
  url: string,
  answer: Answer,
  part: Part,
  { onProgress }: DownloadOptions,
  clock: NodeJS.Timeout,
): Promise<void> {
  const total = part.note?.bytes
  const limit = total ?? maxBytes
  const zipped = answer.headers['content-encoding'] === 'gzip'
  const body = zipped ? pipeline(answer.body, createGunzip(), () => {}) : answer.body
  onProgress?.({ received: part.received, total })
  for await (const chunk of body as AsyncIterable<Buffer>) {
    if (part.received + chunk.length > limit) {
      await part.restart(undefined)
      throw new ResidualError(
        'DOWNLOAD_FAILED',
        `${url}: the server sent more than the expected ${limit} bytes.`,
      )
    }
    await part.write(chunk)
    clock.refresh()
    onProgress?.({ received: part.received, total })
  }
  if (total !== undefined && part.received < total)
    throw new TransientFailure(`only ${part.received} of ${total} bytes arrived`)
}

function reasonOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException
  return error.message || code || error.name
}

function gaveUp(url: string, part: Part, tries: number, cause: TransientFailure): ResidualError {
  return new ResidualError(
    'DOWNLOAD_FAILED',
    `${url}: gave up after ${tries} attempts: ${cause.message}. ` +
      `${part.received > 0 ? `${part.received} bytes are kept: the next pull resumes from there.` : 'No data arrived.'}`,
    { cause },
  )
}
