// Text in HTML and SVG.
import { visible } from '../base/text.ts'

/** Text that may come from a file's or a folder's name, with nothing in it that is markup. */
export function escaped(text: string): string {
  return visible(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
