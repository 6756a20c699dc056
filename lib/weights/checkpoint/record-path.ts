// The path of a checkpoint's record, and the checkpoint's name.
import { basename, dirname, extname, join } from 'node:path'

/** A file's name without its format's extension: `model` for `model.pth` and `model.safetensors.index.json`. */
export function checkpointStem(path: string): string {
  const file = basename(path)
  const shard = '.index.json'
  const whole = file.endsWith(shard) ? file.slice(0, -shard.length) : file
  return whole.slice(0, whole.length - extname(whole).length)
}

/** The path of a checkpoint's record, if it has one: `model.json` for `model.pth`. */
export function recordPath(checkpoint: string): string {
  return join(dirname(checkpoint), `${checkpointStem(checkpoint)}.json`)
}
