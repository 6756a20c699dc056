// A repository's config.json and preprocessor_config.json, fetched and kept next to its checkpoint.
import { basename, dirname, extname, join } from 'node:path'
import { ResidualError } from '../errors.ts'
import { writeAtomically } from '../files/atomic-file.ts'
import type { Source } from './source.ts'
import type { Transport } from './transport.ts'

const configNames = ['config.json', 'preprocessor_config.json']
const maxBytes = 4 << 20 // labels of 21,000 classes take one
const longestMs = 30_000 // per file

/** Where a checkpoint's file of that name is kept: many checkpoints share one folder. */
export function configPath(checkpoint: string, name: string): string {
  return join(dirname(checkpoint), `${basename(checkpoint, extname(checkpoint))}.${name}`)
}

/**
 * Fetches those that the repository of `source` has. No checksums are published for them: only https protects them.
 *
 * @throws ResidualError DOWNLOAD_FAILED, FILE_WRITE_FAILED; the signal's reason
 */
export async function bringConfigs(
  transport: Transport,
  source: Source,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const name of configNames) {
    const url = new URL(name, source.url).href
    const text = await textAt(transport, url, signal)
    if (text !== undefined) await writeAtomically(configPath(path, name), handle => handle.writeFile(text))
  }
}

/** Undefined if there is none. */
async function textAt(
  transport: Transport,
  url: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const late = AbortSignal.timeout(longestMs)
  const failed = (why: string, cause?: unknown) =>
    new ResidualError('DOWNLOAD_FAILED', `${url}: ${why}. Pull again.`, { cause })
  try {
    const { status, body } = await transport.get(
      url,
      { 'accept-encoding': 'identity' },
      signal ? AbortSignal.any([signal, late]) : late,
    )
    body.on('error', () => {}) // the reader gets the error
    try {
      if (status === 404) return undefined
      if (status !== 200) throw failed(`the server answered ${status}`)
      const chunks: Buffer[] = []
      let bytes = 0
      for await (const chunk of body as AsyncIterable<Buffer>) {
        bytes += chunk.length
        if (bytes > maxBytes) throw failed(`it has more than ${maxBytes} bytes`)
        chunks.push(chunk)
      }
      return Buffer.concat(chunks).toString('utf8')
    } finally {
      body.destroy()
    }
  } catch (cause) {
    signal?.throwIfAborted()
    throw cause instanceof ResidualError ? cause : failed((cause as Error).message, cause)
  }
}
