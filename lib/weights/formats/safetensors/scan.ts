// A scan of a header's JSON before it is parsed: it must be cheap to parse and hide nothing.

const maxDepth = 3 // the header, an entry, a list
const maxItems = 2_000_000 // keys and values: about 200,000 tensors, and little memory even for a hostile file

const quote = 0x22
const comma = 0x2c
const colon = 0x3a
const openList = 0x5b
const backslash = 0x5c
const closeList = 0x5d
const openObject = 0x7b
const closeObject = 0x7d

/**
 * Refuses what `JSON.parse` would accept: a duplicate key in an object (it silently keeps the last), nesting deeper than the
 * format's, and so many values that 100 MB of them become gigabytes. Checking that `text` is JSON is left to `JSON.parse`.
 *
 * @throws the error that `fail` returns
 */
export function scanHeader(text: string, fail: (problem: string) => Error): void {
  const scopes: (Set<string> | undefined)[] = [] // the keys of each open object; none for a list
  let string = ''
  let items = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === quote) {
      const end = endOfString(text, i)
      string = text.slice(i, end + 1)
      i = end
    } else if (c === openObject || c === openList) {
      scopes.push(c === openObject ? new Set() : undefined)
      if (scopes.length > maxDepth) throw fail(`its header is nested more than ${maxDepth} levels deep`)
    } else if (c === closeObject || c === closeList) {
      scopes.pop()
    } else if (c === colon || c === comma) {
      if (++items > maxItems) throw fail(`its header has more than ${maxItems} keys and values`)
      if (c === colon) addKey(scopes.at(-1), unescaped(string), fail)
    }
  }
}

function addKey(keys: Set<string> | undefined, key: string, fail: (problem: string) => Error): void {
  if (keys?.has(key)) throw fail(`its header names '${key}' twice`)
  keys?.add(key)
}

function endOfString(text: string, begin: number): number {
  // Nearly all have no escape, and are not scanned character by character, which is slow until compiled.
  const next = text.indexOf('"', begin + 1)
  if (next >= 0 && !text.slice(begin, next).includes('\\')) return next
  let i = begin + 1
  for (; i < text.length && text.charCodeAt(i) !== quote; i++) if (text.charCodeAt(i) === backslash) i++
  return i
}

function unescaped(string: string): string {
  if (!string.includes('\\')) return string.slice(1, -1)
  try {
    return JSON.parse(string)
  } catch {
    return string // JSON.parse will refuse the header
  }
}
