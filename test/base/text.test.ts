import { describe, expect, it } from 'vitest'
import { jsonText, shortened, shown, visible } from '../../lib/base/text.ts'
import { outOfRange, ResidualError, wrongType } from '../../lib/errors.ts'

/** None of what moves a cursor, breaks a line, or turns text around. */
const harmless = /^[^\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]*$/u

describe('displayed text', () => {
  it('has its control characters escaped and is otherwise unchanged', () => {
    expect(visible('a\x1b[2Jb\nc\u009bd\u202ee\u2028f')).toBe('a\\x1b[2Jb\\x0ac\\x9bd\\u{202e}e\\u{2028}f')
    expect(visible('für 猫 🐈')).toBe('für 猫 🐈')
  })

  it('is cut in the middle if it is too long, never within a character', () => {
    expect(shortened('short', 5)).toBe('short')
    const cut = shortened(`${'a'.repeat(500)}${'b'.repeat(500)}`, 100)
    expect(cut).toMatch(/^a+…\(1000 characters\)…b+$/)
    expect(cut).toHaveLength(100)
    for (const most of [82, 83, 84, 85])
      expect(shortened('🐈'.repeat(200), most).replace(/🐈/gu, '')).toBe('…(400 characters)…')
  })

  it('shortens endless words, keeps the end of an endless sentence, and is fast for 10 MB', () => {
    const path = `/data/${'x'.repeat(300)}/cat.jpg`
    expect(shown(`${path} cannot be read.`)).toBe(`${path} cannot be read.`)
    const word = shown(`data:image/png;base64,${'A'.repeat(1e7)} cannot be read. Give a path.`)
    expect(word.length).toBeLessThan(500)
    expect(word).toMatch(/^data:image\/png;base64,A.* cannot be read\. Give a path\.$/)
    const sentence = shown(`${'words '.repeat(1e6)}cannot be read. Give a path.`)
    expect(sentence.length).toBeLessThanOrEqual(4000)
    expect(sentence).toMatch(/cannot be read\. Give a path\.$/)
  })
})

describe('the message of an error', () => {
  const hostile = `evil\x1b[31m\nrow\u009b2J\u202e${'y'.repeat(1e6)}`

  it.each([
    ['ResidualError', new ResidualError('FILE_NOT_FOUND', `${hostile} cannot be read.`)],
    ['TypeError', wrongType('a path', 'model', hostile)],
    ['RangeError', outOfRange(`one of ${hostile}`, 'device', { [hostile]: 1 })],
    ['RangeError of a symbol', outOfRange('one', hostile, Symbol(hostile))],
  ])('of a %s is one harmless line of limited length', (_, { message }) => {
    expect(message).toMatch(harmless)
    expect(message.length).toBeLessThan(1000)
  })

  it('describes values that have no class, or whose class is a trap', () => {
    const trap = new Proxy({}, { get: () => assertNever() })
    for (const value of [Object.create(null), trap, { constructor: 7 }])
      expect(wrongType('a path', 'model', value).message).toMatch(/received a value of type Object$/)
    expect(wrongType('a path', 'model', () => 1).message).toMatch(/received a function$/)
  })
})

describe('JSON text', () => {
  it('has the same value, with no control characters', () => {
    const value = { '\u009b': 'a\x1b[2J\n\u009b31m\u202e\x7f\u2028', list: [1, 'für'] }
    const text = jsonText(value)
    expect(text).toMatch(harmless)
    expect(JSON.parse(text)).toEqual(value)
    expect(text).toContain('für')
  })
})

function assertNever(): never {
  throw new Error('was read')
}
