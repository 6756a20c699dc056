// Glob patterns: `*` and `**`, a question mark for any one character, `[a-z]`, `{a,b}` and `{1..9}`; a backslash escapes. Names that
// begin with a dot are matched only by patterns that do. Matching takes time proportional to the pattern's length times the name's.
import { outOfRange } from '../../errors.ts'

/** Whether a path is a pattern: whether it contains a special character. */
export function isPattern(path: string): boolean {
  return /[*?[{]/.test(path.replace(/\\./gs, ''))
}

const mostAlternatives = 1000

/** The patterns without braces, one for every combination of alternatives. */
export function alternatives(pattern: string): string[] {
  const done: string[] = []
  const open = [pattern]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const braces = innermost(next)
    if (!braces) done.push(next)
    else {
      const [before, after] = [next.slice(0, braces.begin), next.slice(braces.end)]
      for (const choice of choices(braces.text)) open.push(before + choice + after)
    }
    if (open.length + done.length > mostAlternatives)
      throw outOfRange(`at most ${mostAlternatives} alternatives in braces`, 'the pattern', pattern)
  }
  return done
}

/** The first innermost braces; braces without alternatives are literal. */
function innermost(pattern: string): { begin: number; end: number; text: string } | undefined {
  let begin = -1
  for (let at = 0; at < pattern.length; at++) {
    if (pattern[at] === '\\') at++
    else if (pattern[at] === '{') begin = at
    else if (pattern[at] === '}' && begin >= 0) {
      const text = pattern.slice(begin + 1, at)
      if (text.includes(',') || range.test(text)) return { begin, end: at + 1, text }
      begin = -1
    }
  }
  return undefined
}

const range = /^(-?\d{1,9})\.\.(-?\d{1,9})$/

function choices(text: string): string[] {
  const bounds = range.exec(text)
  if (!bounds) return text.split(',')
  const [from, to] = [Number(bounds[1]), Number(bounds[2])]
  const count = Math.min(Math.abs(to - from), mostAlternatives) + 1
  return Array.from({ length: count }, (_, i) => `${from + Math.sign(to - from) * i}`)
}

type Part = '*' | ((character: string) => boolean)

/** A test of names against one segment of a pattern. */
export function matcher(segment: string): (name: string) => boolean {
  const parts = parse(segment)
  return name => {
    const characters = [...name]
    let [part, at] = [0, 0]
    let [star, from] = [-1, 0] // the last star, and where the text after it was tried
    while (at < characters.length) {
      const wanted = parts[part]
      if (wanted === '*') {
        ;[star, from] = [part, at]
        part++
      } else if (wanted?.(characters[at]!)) {
        part++
        at++
      } else if (star >= 0) {
        // Only the last star needs to match more: whatever an earlier star could match, it can.
        part = star + 1
        at = ++from
      } else return false
    }
    while (parts[part] === '*') part++
    return part === parts.length
  }
}

function parse(segment: string): Part[] {
  const parts: Part[] = []
  const characters = [...segment]
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at]!
    if (character === '*') {
      if (parts.at(-1) !== '*') parts.push('*')
    } else if (character === '?') parts.push(() => true)
    else if (character === '[') {
      const end = endOfClass(characters, at)
      if (end === undefined) parts.push(c => c === '[')
      else {
        parts.push(classOf(characters.slice(at + 1, end)))
        at = end
      }
    } else {
      const literal = character === '\\' ? (characters[++at] ?? '\\') : character
      parts.push(c => c === literal)
    }
  }
  return parts
}

/** The bracket that closes a class: one directly after the opening is a member of the class. */
function endOfClass(characters: readonly string[], begin: number): number | undefined {
  const first = begin + (/[!^]/.test(characters[begin + 1] ?? '') ? 2 : 1)
  const end = characters.indexOf(']', first + 1)
  return end < 0 ? undefined : end
}

function classOf(inside: readonly string[]): (character: string) => boolean {
  const negated = inside[0] === '!' || inside[0] === '^'
  const members = negated ? inside.slice(1) : inside
  const ranges: { from: string; to: string }[] = []
  for (let at = 0; at < members.length; at++) {
    const isRange = members[at + 1] === '-' && at + 2 < members.length
    ranges.push({ from: members[at]!, to: members[isRange ? at + 2 : at]! })
    if (isRange) at += 2
  }
  const point = (character: string) => character.codePointAt(0)!
  return character =>
    ranges.some(({ from, to }) => point(from) <= point(character) && point(character) <= point(to)) !==
    negated
}
