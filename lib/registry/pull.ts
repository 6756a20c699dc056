// Pulling a checkpoint: found in the cache, or downloaded, verified, given its record, and only then moved into place.
import { rename, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { checkNames, checkSignal, type Names } from '../base/options.ts'
import { checkInteger, outOfRange, ResidualError, wrongType } from '../errors.ts'
import { notWritten } from '../files/atomic-file.ts'
import { makeFolder } from '../files/make-folder.ts'
import { modelCache } from './cache.ts'
import { bringConfigs } from './configs.ts'
import { download, type Progress } from './download.ts'
import { lock } from './lock.ts'
import { Part } from './part.ts'
import { readOrigin, writeRecord } from './record.ts'
import { findSource, type Source } from './source.ts'
import { openTransport, type Stated } from './transport.ts'
import { contradicts, type Expected, expectations, mismatch, sha256Of } from './verify.ts'

export interface PullOptions {
  /** A file of the repository; `model.safetensors` unless given. */
  readonly file?: string
  /** The SHA-256 it must have, 64 hexadecimal digits, in addition to those of the registry and the hub. */
  readonly sha256?: string
  /** Use only the cache. By default true if `HF_HUB_OFFLINE` or `RESIDUAL_OFFLINE` is 1. */
  readonly offline?: boolean
  readonly signal?: AbortSignal
  /** Called often. */
  readonly onProgress?: (progress: Progress) => void
  /** Called before each retry, with the reason and the wait. */
  readonly onRetry?: (reason: string, waitMs: number) => void
  /** Retries after the first attempt; 5 unless given. */
  readonly retries?: number
  /** Wait before the first retry, doubled with each; 1,000 unless given. */
  readonly retryMs?: number
  /** An attempt ends if no data arrives for this long; 30,000 unless given. */
  readonly stallMs?: number
}

const optionNames = {
  file: true,
  sha256: true,
  offline: true,
  signal: true,
  onProgress: true,
  onRetry: true,
  retries: true,
  retryMs: true,
  stallMs: true,
} as const satisfies Names<PullOptions>

/**
 * Resolves to the path of a checkpoint on this machine, downloading it if necessary; `load(name)` finds it from then on. `name`
 * is one of the registry, or `owner/repository[@revision]` on the Hugging Face hub. Only a file with a verified SHA-256 is ever
 * put at that path; an interrupted pull resumes where it stopped.
 *
 * @throws ResidualError MODEL_NOT_FOUND, OFFLINE, DOWNLOAD_FAILED, CHECKSUM_MISMATCH, FILE_WRITE_FAILED; the signal's reason
 */
export async function pull(name: string, options: PullOptions = {}): Promise<string> {
  if (typeof name !== 'string') throw wrongType('a name', 'name', name)
  checkOptions(options)
  return await pullSource(findSource(name, options.file), options)
}

/** {@link pull} for a source. */
export async function pullSource(source: Source, options: PullOptions): Promise<string> {
  const { signal, sha256, offline = isOffline() } = options
  const path = join(modelCache(), source.fileName)
  const expected = expectations(source.checkpoint?.sha256, sha256)
  signal?.throwIfAborted()
  const state = await inspect(path, source, expected)
  if (state === 'intact') return path
  if (offline)
    throw new ResidualError(
      'OFFLINE',
      `${source.name} ${state === 'absent' ? 'has not been pulled' : `is damaged or not the expected file (${path})`}, and downloads are disabled.`,
    )
  await prepareFolder(dirname(path))
  const unlock = await lock(path, signal)
  try {
    if ((await inspect(path, source, expected)) !== 'intact') await fetchInto(path, source, expected, options)
  } finally {
    await unlock()
  }
  return path
}

/** Whether the file is in the cache, and whether it is the expected one. */
async function inspect(
  path: string,
  source: Source,
  expected: readonly Expected[],
): Promise<'intact' | 'damaged' | 'absent'> {
  const size = await stat(path).then(
    ({ size }) => size,
    () => undefined,
  )
  if (size === undefined) return 'absent'
  const origin = await readOrigin(path)
  if (origin && origin.bytes !== size) return 'damaged'
  const sha256 = await sha256Of(path)
  if (origin ? origin.sha256 !== sha256 : expected.length === 0) return 'damaged'
  if (contradicts(sha256, expected)) return 'damaged'
  if (!origin) await writeRecord(path, source, { sha256, bytes: size, checkedAgainst: expected[0]!.by })
  return 'intact'
}

async function fetchInto(
  path: string,
  source: Source,
  known: readonly Expected[],
  { signal, onProgress, onRetry, retries = 5, retryMs = 1000, stallMs = 30_000 }: PullOptions,
): Promise<void> {
  const { name, url } = source
  const accept = (stated: Stated) => checkStated(source, stated, known)
  const transport = await openTransport()
  try {
    const part = await Part.open(path)
    try {
      await download(transport, url, part, { signal, onProgress, onRetry, retries, retryMs, stallMs, accept })
      await part.sync()
    } finally {
      await part.close()
      if (part.received === 0) await part.remove() // nothing to resume from
    }
    const sha256 = await sha256Of(part.path)
    const stated: Expected[] = part.note?.sha256 ? [{ digits: part.note.sha256, by: 'hub' }] : []
    const wrong = contradicts(sha256, [...known, ...stated])
    if (wrong) {
      await part.remove()
      throw mismatch(`The download of ${name}`, sha256, wrong, 'It was deleted; pull again.')
    }
    if (source.checkpoint === undefined) await bringConfigs(transport, source, path, signal)
    const checkedAgainst = [...known, ...stated][0]!.by
    await writeRecord(path, source, { sha256, bytes: part.received, checkedAgainst })
    await put(part.path, path)
    await part.removeNote()
  } finally {
    await transport.close()
  }
}

/** Refuses, before the download, a file whose SHA-256 is unknown or known to be wrong. */
function checkStated({ name, url }: Source, { sha256 }: Stated, known: readonly Expected[]): void {
  const wrong = sha256 === undefined ? undefined : contradicts(sha256, known)
  if (wrong) throw mismatch(`${url}, according to the hub,`, sha256!, wrong, 'Nothing was downloaded.')
  if (sha256 === undefined && known.length === 0)
    throw new ResidualError(
      'DOWNLOAD_FAILED',
      `The SHA-256 of ${name} is unknown: neither the registry nor ${url} states it. Give it with --sha256.`,
    )
}

async function prepareFolder(folder: string): Promise<void> {
  await makeFolder(folder).catch(cause => {
    throw notWritten(folder, cause)
  })
}

async function put(from: string, to: string): Promise<void> {
  await rename(from, to).catch(cause => {
    throw notWritten(to, cause)
  })
}

function isOffline(): boolean {
  const { HF_HUB_OFFLINE, RESIDUAL_OFFLINE } = process.env
  return [HF_HUB_OFFLINE, RESIDUAL_OFFLINE].some(value => /^(1|true|yes|on)$/i.test(value ?? ''))
}

function checkOptions(options: PullOptions): void {
  checkNames(options, optionNames)
  checkSignal(options.signal)
  const { sha256, retries, retryMs, stallMs } = options
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256))
    throw outOfRange('64 hexadecimal digits', 'sha256', sha256)
  if (retries !== undefined) checkInteger('retries', retries, 0)
  if (retryMs !== undefined) checkInteger('retryMs', retryMs, 0)
  if (stallMs !== undefined) checkInteger('stallMs', stallMs, 1)
}
