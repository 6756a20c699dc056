// How a download proceeds from the server's answer: resume, start over, already complete, or fail.
import { ResidualError } from '../errors.ts'
import { isStrongEtag, type Part } from './part.ts'
import { type Answer, type Stated, TransientFailure } from './transport.ts'

/**
 * Prepares `part` for the body of an answer; false if nothing is missing. `accept` throws to refuse what the server says it
 * will send.
 *
 * @throws ResidualError DOWNLOAD_FAILED, FILE_WRITE_FAILED; TransientFailure
 */
export async function prepare(
  url: string,
  answer: Answer,
  part: Part,
  accept: (stated: Stated) => void,
): Promise<boolean> {
  const { status, headers, stated } = answer
  if (status === 200) {
    accept(stated)
    const encoding = headers['content-encoding'] ?? 'identity'
    if (!['identity', 'gzip'].includes(encoding))
      throw new ResidualError(
        'DOWNLOAD_FAILED',
        `${url}: the server used the content encoding ${encoding}, which was not requested.`,
      )
    const plain = encoding === 'identity'
    const length = plain && headers['content-length'] ? Number(headers['content-length']) : undefined
    const etag = plain && isStrongEtag(headers.etag) ? headers.etag : undefined
    const bytes = stated.bytes ?? length
    const { sha256 } = stated
    await part.restart({
      url,
      ...(etag && { etag }),
      ...(bytes !== undefined && { bytes }),
      ...(sha256 && { sha256 }),
    })
    return true
  }
  if (status === 206 || status === 416) {
    const range = /^bytes (?:(\d+)-\d+|\*)\/(\d+)$/.exec(headers['content-range'] ?? '')
    const [first, total] = [range?.[1], range?.[2]].map(text =>
      text === undefined ? undefined : Number(text),
    )
    if (isSame(answer, part, total)) {
      if (status === 206 && first === part.received) return true
      if (status === 416 && total === part.received) return false
    }
    await part.restart(undefined)
    throw new TransientFailure('the partial download is not the beginning of the file on the server')
  }
  if (status === 408 || status === 429 || status >= 500)
    throw new TransientFailure(`the server answered ${status}`, retryAfter(headers['retry-after']))
  throw new ResidualError(
    'DOWNLOAD_FAILED',
    `${url}: the server answered ${status}.${hint(status, headers['x-error-code'])}`,
  )
}

/** A hint by the hub's `X-Error-Code`; it answers 401 both for missing and for private repositories. */
function hint(status: number, code: string | undefined): string {
  if (code === 'GatedRepo')
    return ' Accept its terms on its page first; then set HF_TOKEN to a token with read access.'
  if (code === 'EntryNotFound')
    return ' The repository has no file of that name: give another after the name of the repository.'
  if (code === 'RevisionNotFound') return ' The repository has no such revision.'
  if (status === 404 && code === undefined) return ' There is no such file or revision.'
  if (code === 'RepoNotFound' || status === 401 || status === 404)
    return ' There is no such repository, or it is not public: check its name, or set HF_TOKEN to a token with read access.'
  return status === 403 ? ' Set HF_TOKEN to a token with read access.' : ''
}

/** Whether an answer is for the same file as `part`. */
function isSame({ headers, stated }: Answer, { note }: Part, total: number | undefined): boolean {
  const agrees = <T>(a: T | undefined, b: T | undefined) => a === undefined || b === undefined || a === b
  return (
    agrees(headers['content-encoding'], 'identity') &&
    agrees(headers.etag, note?.etag) &&
    agrees(stated.sha256, note?.sha256) &&
    agrees(total, note?.bytes)
  )
}

/** Milliseconds; the header has seconds or a date (RFC 9110, 10.2.3). */
function retryAfter(header: string | undefined): number {
  const value =
    header === undefined ? 0 : /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return value > 0 ? value : 0
}
