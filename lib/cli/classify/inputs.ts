// The images named by the paths on a command line.
import { createReadStream, type Dirent, type Stats } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { ResidualError } from '../../errors.ts'
import { mostFileBytes } from '../../image/read-image.ts'
import { filesOf } from './glob.ts'
import { isPattern } from './pattern.ts'

/** An image to read, and its name for messages. */
export interface Input {
  readonly name: string
  readonly source: string | Uint8Array
}

/** A path without images, and the reason. */
export interface Failure {
  readonly path: string
  readonly error: Error
}

export interface Found {
  readonly inputs: readonly Input[]
  readonly failures: readonly Failure[]
}

/** Extensions of images, including unsupported formats, which are reported rather than skipped. */
const imageName = /\.(?:jpe?g|jpe|jfif|pjpe?g|pjp|png|webp|gif|tiff?|avif|avifs|heic|heif|bmp|jxl|jp2)$/i

/**
 * The images named by `paths`, in that order: files, folders searched recursively for files with an image's extension, glob
 * patterns, and `-` for standard input. A pipe is read immediately, since it can be read only once.
 */
export async function findInputs(paths: readonly string[]): Promise<Found> {
  const inputs: Input[] = []
  const failures: Failure[] = []
  const fail = (path: string, error: Error) => failures.push({ path, error })
  let standardInput: Promise<Buffer> | undefined
  for (const path of paths) {
    const before = inputs.length + failures.length
    try {
      if (path === '-') {
        standardInput ??= readAll(process.stdin, 'The standard input')
        inputs.push({ name: path, source: await standardInput })
      } else for await (const input of expand(path, fail)) inputs.push(input)
    } catch (error) {
      if (!(error instanceof Error)) throw error
      fail(path, error)
    }
    if (inputs.length + failures.length === before)
      fail(path, new ResidualError('FILE_NOT_FOUND', `No images found at ${path}.`))
  }
  return { inputs, failures }
}

type Fail = (path: string, error: Error) => void

async function* expand(path: string, fail: Fail): AsyncGenerator<Input> {
  const found = await stat(path).catch(() => undefined)
  if (!found && isPattern(path)) {
    for (const file of await filesOf(path)) yield { name: file, source: file }
  } else if (found?.isDirectory()) {
    const files = await imagesIn(path, found, fail)
    for (const file of files) yield { name: file, source: file }
  } else if (found && !found.isFile())
    yield { name: path, source: await readAll(createReadStream(path), path) }
  else yield { name: path, source: path } // reading it reports any error
}

/**
 * The files below a folder with an image's extension, sorted, except hidden ones. Links are followed, but no folder is entered
 * twice, so a link to a parent is harmless. A dangling link counts as an unreadable file.
 */
async function imagesIn(root: string, found: Stats, fail: Fail): Promise<string[]> {
  const images: string[] = []
  const entered = new Set([identity(found)])
  const folders = [root.replace(/[/\\]+$/, '') || root]
  const links: string[] = [] // to folders: entered last, because real paths make better names
  const enter = async (path: string) => {
    const key = await stat(path).then(identity, () => path)
    if (!entered.has(key)) folders.push(path)
    entered.add(key)
  }
  for (;;) {
    const folder = folders.pop()
    if (folder === undefined) {
      const link = links.sort().shift()
      if (link === undefined) return images.sort()
      await enter(link)
      continue
    }
    const prefix = folder.endsWith('/') ? folder : `${folder}/`
    for (const entry of await entriesOf(folder, fail)) {
      const path = prefix + entry.name
      if (entry.name.startsWith('.')) continue
      if (entry.isDirectory()) await enter(path)
      else if (entry.isSymbolicLink() && (await leadsToFolder(path))) links.push(path)
      else if (imageName.test(entry.name)) images.push(path)
    }
  }
}

async function entriesOf(folder: string, fail: Fail): Promise<Dirent[]> {
  return readdir(folder, { withFileTypes: true }).catch((cause: Error) => {
    const problem = `The folder ${folder} cannot be read: ${cause.message}`
    fail(folder, new ResidualError('FILE_NOT_FOUND', `${problem}.`, { cause }))
    return []
  })
}

const leadsToFolder = (path: string) =>
  stat(path).then(
    found => found.isDirectory(),
    () => false,
  )

const identity = ({ dev, ino }: Stats) => `${dev}:${ino}`

/** All data from a pipe. */
async function readAll(stream: NodeJS.ReadableStream, name: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    size += chunk.length
    if (size > mostFileBytes) {
      const problem = `${name} is larger than the limit of ${mostFileBytes} bytes`
      throw new ResidualError('PICTURE_TOO_LARGE', `${problem}. Reduce it first.`)
    }
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}
