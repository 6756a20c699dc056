// The files that `residual classify --cam` writes: one per image, never on top of an input.
import { statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, extname, join, parse } from 'node:path'
import { outOfRange, ResidualError } from '../../errors.ts'
import type { Input } from './inputs.ts'

/**
 * A function that names the file of each input, called in order: `out.png` for a single input, `out-NAME.png` for several,
 * numbered where names collide.
 *
 * @throws RangeError for a name that does not end in `.png`, ResidualError FILE_WRITE_FAILED for that of an input
 */
export async function camFiles(out: string, inputs: readonly Input[]): Promise<(input: Input) => string> {
  if (!/\.png$/i.test(out)) throw outOfRange('a name that ends in .png', '--cam', out)
  const images = new Set<string>()
  for (const { source } of inputs) {
    const found = typeof source === 'string' ? await stat(source, { bigint: true }).catch(() => null) : null
    if (found) images.add(`${found.dev}:${found.ino}`)
  }
  const isImage = (path: string) => {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false })
    return found !== undefined && images.has(`${found.dev}:${found.ino}`)
  }
  if (inputs.length === 1) {
    if (isImage(out))
      throw new ResidualError('FILE_WRITE_FAILED', `${out} is the image itself. Give --cam another name.`)
    return () => out
  }
  const { dir, name } = parse(out)
  const last = new Map<string, number>() // number by stem: thousands may share one
  const used = new Set<string>() // in lower case: some file systems ignore case
  return input => {
    const stem = input.name === '-' ? 'stdin' : basename(input.name, extname(input.name))
    for (let number = (last.get(stem) ?? 0) + 1; ; number++) {
      const path = join(dir, `${name}-${stem}${number > 1 ? `-${number}` : ''}.png`)
      const key = path.toLowerCase()
      if (used.has(key) || isImage(path)) continue
      used.add(key)
      last.set(stem, number)
      return path
    }
  }
}
