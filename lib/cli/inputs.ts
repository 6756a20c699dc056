// Which pictures do the paths on a command line mean?
import { existsSync, statSync } from 'node:fs'
import { buffer } from 'node:stream/consumers'
import { glob, isDynamicPattern } from 'tinyglobby'

/** A picture to read: where from, and what to call it. */
export interface Input {
  readonly name: string
  readonly source: string | Uint8Array
}

const pictureExtensions = 'jpg,jpeg,png,webp,gif,tif,tiff,avif,heic,heif,svg'

/**
 * The pictures meant by `paths`, in that order: files as they are, folders searched through and through for files with a
 * picture's extension, glob patterns, and `-` for the bytes on standard input. What means nothing is in `missing`.
 */
export async function findInputs(paths: readonly string[]): Promise<{ inputs: Input[]; missing: string[] }> {
  const inputs: Input[] = []
  const missing: string[] = []
  for (const path of paths) {
    const found = await expand(path)
    inputs.push(...found)
    if (found.length === 0) missing.push(path)
  }
  return { inputs, missing }
}

async function expand(path: string): Promise<Input[]> {
  if (path === '-') return [{ name: '-', source: await buffer(process.stdin) }]
  if (existsSync(path)) {
    if (!statSync(path).isDirectory()) return [{ name: path, source: path }]
    const folder = path.replace(/[/\\]+$/, '') || path
    const files = await glob(`**/*.{${pictureExtensions}}`, { cwd: path, caseSensitiveMatch: false })
    return files.sort().map(file => ({ name: `${folder}/${file}`, source: `${folder}/${file}` }))
  }
  if (!isDynamicPattern(path)) return [{ name: path, source: path }] // reading it will say what is wrong
  const files = await glob(path, { expandDirectories: false })
  return files.sort().map(file => ({ name: file, source: file }))
}
