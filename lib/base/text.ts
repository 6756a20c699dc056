// Text made safe for messages, logs and terminals: on one line, of bounded length, without control characters.

const mostOfAMessage = 4000 // characters: what a remedy, some paths and a list of what was tried take
const mostOfAWord = 400 // a path of that length is rare; base64 of an image is not

/** Whatever breaks a line, starts an escape sequence, or changes the direction in which text is shown. */
const controls = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu

/** `text` with control characters written as `\x1b` or `\u{202e}`, so that a name cannot forge a line or colour a terminal. */
export function visible(text: string): string {
  return text.replace(controls, character => {
    const code = character.codePointAt(0)!
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`
  })
}

/** `text` if it has no more than `most` characters, else its beginning and its end, with how many there are. */
export function shortened(text: string, most: number): string {
  if (text.length <= most) return text
  const gap = `…(${text.length} characters)…`
  const kept = Math.max(0, most - gap.length)
  const end = Math.floor(kept / 3)
  const begin = text.slice(0, kept - end).replace(/[\uD800-\uDBFF]$/, '') // no half of a character
  return begin + gap + text.slice(text.length - end).replace(/^[\uDC00-\uDFFF]/, '')
}

/** A whole sentence, or what else is shown as it is: visible, no word of it endless, and not endless itself. */
export function shown(text: string): string {
  return visible(shortened(withShortWords(text), mostOfAMessage))
}

const longWord = new RegExp(`\\S{${mostOfAWord + 1}}`, 'g') // its beginning: of `{401,}` V8's stack overflows at some MB
const space = /\s/g

function withShortWords(text: string): string {
  let result = ''
  let done = 0
  longWord.lastIndex = 0
  for (let found = longWord.exec(text); found; found = longWord.exec(text)) {
    space.lastIndex = longWord.lastIndex
    const end = space.exec(text)?.index ?? text.length
    result += text.slice(done, found.index) + shortened(text.slice(found.index, end), mostOfAWord)
    done = end
    longWord.lastIndex = end
  }
  return result + text.slice(done)
}

/** JSON for a terminal or a pipe: the same value, with the control characters escaped that JSON.stringify leaves as they are. */
export function jsonText(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, null, indent)
  return text.replace(laterControls, character => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

const laterControls = /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g // JSON escapes those below by itself
