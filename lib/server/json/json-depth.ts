// A check of JSON's nesting depth before it is parsed: nested lists take a hundred times the bytes they were sent as, and
// collecting that garbage delays every request.
import { invalid } from '../protocol/tensor-values.ts'

/** Of a tensor that is served: `[N,H,W,3]`. */
export const mostExtents = 4

/** The request, its list of inputs, an input, and the lists of its `data`, one in another for each extent. */
const mostDepth = 3 + mostExtents

const [quote, backslash, openList, closeList, openObject, closeObject] = [...'"\\[]{}'].map(text =>
  text.charCodeAt(0),
)

/**
 * Refuses what is nested deeper than any request. Text that is not JSON may pass.
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
          `The JSON is nested more than ${mostDepth} deep, at character ${at}. A tensor has at most ${mostExtents} extents.`,
        )
    } else if (char === closeList || char === closeObject) depth--
  }
}

/** The place of the quote that ends the string which begins at `begin`; the text's end where there is none. */
function endOfString(text: string, begin: number): number {
  for (let at = begin; ; ) {
    at = text.indexOf('"', at + 1)
    if (at === -1) return text.length
    let escapes = 0
    while (text.charCodeAt(at - 1 - escapes) === backslash) escapes++
    if (escapes % 2 === 0) return at
  }
}
