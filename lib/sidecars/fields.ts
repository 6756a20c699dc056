// Typed access to members of foreign JSON. Null counts as absent; a wrong type is an error that names the member.
import { quoted, ResidualError } from '../errors.ts'

/** A JSON object from a file. */
export interface Fields {
  readonly json: { readonly [key: string]: unknown }
  readonly file: string
}

/** @throws ResidualError MODEL_INVALID if the member is not a boolean */
export function flag({ json, file }: Fields, name: string, otherwise: boolean): boolean {
  const value = json[name] ?? otherwise
  if (typeof value !== 'boolean') throw malformed(file, name, value, 'true or false')
  return value
}

/** @throws ResidualError MODEL_INVALID if the member is not a number above 0 */
export function positive({ json, file }: Fields, name: string, otherwise: number): number {
  const value = json[name] ?? otherwise
  if (!(typeof value === 'number' && value > 0)) throw malformed(file, name, value, 'a number above 0')
  return value
}

/** @throws ResidualError MODEL_INVALID if the member is not an object */
export function object({ json, file }: Fields, name: string): Fields['json'] {
  const value = json[name] ?? {}
  if (typeof value !== 'object' || Array.isArray(value)) throw malformed(file, name, value, 'an object')
  return value as Fields['json']
}

/**
 * `["tench", "goldfish"]`, or `{"0": "tench", "1": "goldfish"}` in order; undefined if there are none, or not one per class.
 *
 * @throws ResidualError MODEL_INVALID if the member is neither
 */
export function labels({ json, file }: Fields, name: string): string[] | undefined {
  const value = json[name] ?? {}
  if (typeof value !== 'object') throw malformed(file, name, value, 'an object of labels by index')
  const found = Object.keys(value).map((_, i) => (value as { readonly [i: number]: unknown })[i])
  return found.length > 0 && found.every(label => typeof label === 'string') ? found : undefined
}

export function malformed(file: string, name: string, value: unknown, expected: string): ResidualError {
  return new ResidualError('MODEL_INVALID', `'${name}' in ${file} is ${quoted(value)}, not ${expected}.`)
}
