// The path of a checkpoint's record, and the checkpoint's name.
import { basename, dirname, extname, join } from 'node:path'

/** A file's name without what tells its format: `model` of `model.pth` and of `model.safetensors.index.json`. */
export function checkpointStem(path: string): string {
  const file = basename(path)
  const shard = '.index.json'
  const whole = file.endsWith(shard) ? file.slice(0, -shard.length) : file
  return whole.slice(0, whole.length - extname(whole).length)
}

/** Where the record of a checkpoint is, if it has one: `model.json` for `model.pth`. */
export function recordPath(checkpoint: string): string {
  return join(dirname(checkpoint), `${checkpointStem(checkpoint)}.json`)
}
