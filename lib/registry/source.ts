// Where a model name points: an entry of the registry, or any file on the Hugging Face hub.
import { basename, extname } from 'node:path'
import { ResidualError } from '../errors.ts'
import { type Checkpoint, checkpoints } from './checkpoints.ts'

/** A file to download. */
export interface Source {
  /** As the user wrote it. */
  readonly name: string
  /** Its file name in the cache, with the extension from the server. */
  readonly fileName: string
  readonly url: string
  /** Its entry in the registry, if it has one. */
  readonly checkpoint?: Checkpoint
}

const defaultEndpoint = 'https://huggingface.co'
const defaultFile = 'model.safetensors'
const repositoryPattern = /^([\w.-]+\/[\w.-]+)(?:@([\w./-]+))?$/

/** `HF_ENDPOINT`, or the hub itself; without a trailing slash. */
export function hubEndpoint(): string {
  return (process.env.HF_ENDPOINT || defaultEndpoint).replace(/\/+$/, '')
}

/**
 * `name` is one of the registry, or `owner/repository[@revision]`; `file` is a file of that repository, `model.safetensors`
 * unless given.
 *
 * @throws ResidualError MODEL_NOT_FOUND
 */
export function findSource(name: string, file?: string): Source {
  const checkpoint = Object.hasOwn(checkpoints, name) ? checkpoints[name] : undefined
  if (checkpoint && file === undefined) {
    const { from } = checkpoint
    const url = 'url' in from ? from.url : hubUrl(from.repository, from.revision, defaultFile)
    return { name, fileName: cacheName(name) + extname(url), url, checkpoint }
  }
  const [, repository, revision = 'main'] = repositoryPattern.exec(name) ?? []
  const path = file ?? defaultFile
  if (repository === undefined || [...`${name}/${path}`.split(/[/@]/)].some(isNoName))
    throw new ResidualError(
      'MODEL_NOT_FOUND',
      `There is no checkpoint '${name}' to pull${file === undefined ? '' : ` ${file} from`}${similar(name)}. ` +
        '`residual pull --list` lists the known ones; write others on the Hugging Face hub as owner/repository.',
    )
  const stem = file === undefined ? name : `${name}/${path.slice(0, -extname(path).length || undefined)}`
  return { name, fileName: cacheName(stem) + extname(path), url: hubUrl(repository, revision, path) }
}

/** The name of a cached file without its extension; `name` may contain slashes. */
export function cacheName(name: string): string {
  return name.replaceAll('/', '--')
}

/** How to get a missing model, if it can be pulled; otherwise empty. */
export function pullHint(name: string): string {
  return Object.hasOwn(checkpoints, name) ? ` \`residual pull ${name}\` downloads it.` : ''
}

/** How to get a model whose name is a URL or a repository; undefined if the name looks like a file. */
export function remoteHint(name: string): string | undefined {
  if (/^https?:\/\//i.test(name)) {
    const [, repository, revision, file] =
      /^https?:\/\/(?:huggingface\.co|hf\.co)\/([\w.-]+\/[\w.-]+?)(?:\/(?:resolve|blob|tree)\/([\w.-]+)(?:\/([^?#]+))?)?\/?(?:[?#].*)?$/.exec(
        name,
      ) ?? []
    if (repository === undefined) return 'It is a URL: download the file first.'
    const from = revision === undefined || revision === 'main' ? repository : `${repository}@${revision}`
    return `\`residual pull ${from}${file === undefined ? '' : ` ${file}`}\` downloads it.`
  }
  const isRepository =
    repositoryPattern.test(name) &&
    !/^\.|\.(json|safetensors|pth|pt|bin|tar|onnx|h5|keras|pdparams|ckpt)$/.test(name)
  if (!isRepository) return undefined
  return `If it is a repository of the Hugging Face hub, \`residual pull ${name}\` downloads its checkpoint.`
}

function hubUrl(repository: string, revision: string, file: string): string {
  const path = file.split('/').map(encodeURIComponent).join('/')
  return `${hubEndpoint()}/${repository}/resolve/${encodeURIComponent(revision)}/${path}`
}

/** Path segments that could lead out of a folder, or are empty. */
function isNoName(part: string): boolean {
  return !/^[\w.-]+$/.test(part) || /^\.+$/.test(part)
}

function similar(name: string): string {
  const stem = basename(name).split(/[.-]/)[0]!
  const found = Object.keys(checkpoints).filter(known => stem !== '' && known.startsWith(`${stem}.`))
  return found.length > 0 ? ` (did you mean ${found.join(', ')}?)` : ''
}
