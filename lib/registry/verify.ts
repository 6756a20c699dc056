// Verification of downloads: the SHA-256 of the whole file against every known value.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { ResidualError } from '../errors.ts'

/** What a checksum was compared with: the registry's whole value or its first digits, the user's, or the hub's. */
export type CheckedAgainst = 'registry' | 'registry (first digits)' | 'user' | 'hub'

/** The first hexadecimal digits of a file's SHA-256, or all of them. */
export interface Expected {
  readonly digits: string
  readonly by: CheckedAgainst
}

/** The values from the registry and the user; the registry may know only the first digits. */
export function expectations(registry: string | undefined, user: string | undefined): Expected[] {
  const known: Expected[] = []
  if (user !== undefined) known.push({ digits: user.toLowerCase(), by: 'user' })
  if (registry !== undefined)
    known.push({ digits: registry, by: registry.length === 64 ? 'registry' : 'registry (first digits)' })
  return known
}

/** @throws ResidualError FILE_NOT_FOUND */
export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  try {
    await pipeline(createReadStream(path, { highWaterMark: 2 ** 20 }), hash)
  } catch (cause) {
    throw new ResidualError('FILE_NOT_FOUND', `${path} cannot be read: ${(cause as Error).message}.`, {
      cause,
    })
  }
  return hash.digest('hex')
}

/** The first of `expected` that `sha256` does not match. */
export function contradicts(sha256: string, expected: readonly Expected[]): Expected | undefined {
  return expected.find(({ digits }) => !sha256.startsWith(digits))
}

export function mismatch(
  what: string,
  sha256: string,
  { digits, by }: Expected,
  remedy: string,
): ResidualError {
  const whose = {
    user: 'asked for',
    hub: 'stated by the hub',
    registry: 'in the registry',
    'registry (first digits)': 'in the registry (first digits)',
  }
  return new ResidualError(
    'CHECKSUM_MISMATCH',
    `${what} has the SHA-256 ${sha256}, but the one ${whose[by]} is ${digits}. ${remedy}`,
  )
}
