// A scan of a header's JSON before it is parsed: it must be cheap to parse and hide nothing.

const maxDepth = 3 // the header, an entry, a list
const maxItems = 2_000_000 // keys and values: some 200,000 tensors, and little memory even if a hostile file has them

const quote = 0x22
const comma = 0x2c
const colon = 0x3a
const openList = 0x5b
const backslash = 0x5c
const closeList = 0x5d
const openObject = 0x7b
const closeObject = 0x7d

/**
 * Refuses what `JSON.parse` would take: a key twice in an object (it keeps the last in silence), nesting deeper than the
 * format's, and so many values that 100 MB of them become gigabytes. That `text` is JSON at all is left to `JSON.parse`.
 *
 * @throws what `fail` makes of the problem
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
      if (scopes.length > maxDepth) throw fail(`its header is nested more than ${maxDepth} deep`)
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
  // Without an escape, as nearly all are: not looked at letter by letter, which takes long before it is compiled.
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
