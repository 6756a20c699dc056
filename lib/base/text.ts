// Text made safe for messages, logs and terminals: on one line, of bounded length, without control characters.

const mostOfAMessage = 4000 // characters: room for a remedy, several paths and a list of attempts
const mostOfAWord = 400 // a path of that length is rare; base64 of an image is not

/** Characters that break a line, start an escape sequence, or change the direction of text. */
const controls = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu

/** `text` with control characters written as `\x1b` or `\u{202e}`, so that a name cannot forge a line or colour a terminal. */
export function visible(text: string): string {
  return text.replace(controls, character => {
    const code = character.codePointAt(0)!
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`
  })
}

/** `text` if it has at most `most` characters, otherwise its beginning and end with the count in between. */
export function shortened(text: string, most: number): string {
  if (text.length <= most) return text
  const gap = `…(${text.length} characters)…`
  const kept = Math.max(0, most - gap.length)
  const end = Math.floor(kept / 3)
  const begin = text.slice(0, kept - end).replace(/[\uD800-\uDBFF]$/, '') // no half of a character
  return begin + gap + text.slice(text.length - end).replace(/^[\uDC00-\uDFFF]/, '')
}

/** A message ready to be shown: control characters visible, long words and the whole cut to a limit. */
export function shown(text: string): string {
  return visible(shortened(withShortWords(text), mostOfAMessage))
}

const longWord = new RegExp(`\\S{${mostOfAWord + 1}}`, 'g') // only its beginning: with `{401,}` V8's stack overflows at a few MB
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

/** JSON for a terminal or a pipe, with the control characters escaped that JSON.stringify leaves alone. */
export function jsonText(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, null, indent)
  return text.replace(laterControls, character => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

const laterControls = /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g // JSON.stringify escapes those below itself
