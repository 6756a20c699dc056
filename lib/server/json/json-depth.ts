// A check of JSON's nesting depth before it is parsed: nested lists take a hundred times the bytes they were sent as, and
// collecting that garbage delays every request.
import { invalid } from '../protocol/tensor-values.ts'

/** Dimensions of the largest shape that is served: `[N,H,W,3]`. */
export const mostExtents = 4

/** The request, its list of inputs, an input, and its `data`, a nested list per dimension. */
const mostDepth = 3 + mostExtents

const [quote, backslash, openList, closeList, openObject, closeObject] = [...'"\\[]{}'].map(text =>
  text.charCodeAt(0),
)

/**
 * Refuses text that is nested deeper than any valid request. Text that is not JSON may pass.
 *
 * @throws ResidualError REQUEST_INVALID
 */
export function checkDepth(text: string): void {
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === quote) at = endOfString(text, at)
    else if (char === openList || char === openObject) {
      if (++depth > mostDepth)
        throw invalid(
          `The JSON is nested more than ${mostDepth} levels deep at character ${at}. A tensor has at most ${mostExtents} dimensions.`,
        )
    } else if (char === closeList || char === closeObject) depth--
  }
}

/** The position of the quote that closes the string at `begin`; the end of the text if there is none. */
function endOfString(text: string, begin: number): number {
  for (let at = begin; ; ) {
    at = text.indexOf('"', at + 1)
    if (at === -1) return text.length
    let escapes = 0
    while (text.charCodeAt(at - 1 - escapes) === backslash) escapes++
    if (escapes % 2 === 0) return at
  }
}
