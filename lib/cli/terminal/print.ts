// Printing to the terminal. Everything the command line prints goes through here, so that no name or file can move the cursor or
// forge a line.
import { jsonText, visible } from '../../base/text.ts'

/** A line on standard output. */
export function say(line: string): void {
  console.log(visible(line))
}

/** A line on standard error. */
export function warn(line: string): void {
  console.error(visible(line))
}

/** Several lines on standard output. Control characters in them must already be escaped, as in a table's cells. */
export function sayAll(text: string): void {
  console.log(linesOf(text))
}

export function warnAll(text: string): void {
  console.error(linesOf(text))
}

/** JSON on standard output, indented for people. */
export function sayJson(value: unknown): void {
  console.log(jsonText(value, 2))
}

/** Part of a JSON text on standard output. */
export function write(text: string): void {
  process.stdout.write(text)
}

export const linesOf = (text: string) => text.split('\n').map(visible).join('\n')
