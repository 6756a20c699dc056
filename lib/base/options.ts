// Checks of an options object: it is an object, and every member is known. Callers check the values.
import { outOfRange, wrongType } from '../errors.ts'

/** The members of `Options`: the compiler insists that every one is listed. */
export type Names<Options> = { readonly [name in keyof Required<Options>]: true }

/**
 * @param name what the options are called
 * @throws TypeError if it is not an object, RangeError for a member that is not in `known`
 */
export function checkNames(options: unknown, known: object, name = 'options'): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw wrongType('an object', name, options)
  for (const member of Object.keys(options))
    if (!Object.hasOwn(known, member))
      throw outOfRange(`members ${Object.keys(known).join(', ')}`, name, member)
}

/** The members of `options` that are in `names`. */
export function pick<Options extends object, Name extends keyof Options>(
  options: Options,
  names: { readonly [name in Name]: true },
): Pick<Options, Name> {
  const picked = Object.keys(names).filter(name => Object.hasOwn(options, name))
  return Object.fromEntries(picked.map(name => [name, options[name as Name]])) as Pick<Options, Name>
}

/**
 * `value` as an AbortSignal of this realm, which follows it if it is from another; undefined for undefined.
 *
 * @throws TypeError if it is not an `AbortSignal`
 */
export function checkSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined || value instanceof AbortSignal) return value
  const signal = (value ?? {}) as Partial<AbortSignal>
  if (typeof signal.aborted !== 'boolean' || typeof signal.addEventListener !== 'function')
    throw wrongType('an AbortSignal', 'signal', value)
  const own = new AbortController()
  const follow = () => own.abort(signal.reason)
  if (signal.aborted) follow()
  else signal.addEventListener('abort', follow, { once: true })
  return own.signal
}
