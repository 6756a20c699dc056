// Files mistaken for supported checkpoints: what they are, and what to do with them.
import { basename } from 'node:path'

/** Sentences that go on from the file's name. */
const asPyTorch = 'save the weights by torch.save(model.state_dict(), ...)'
const asKeras = "save it by Keras as '.keras' or '.h5'"

/** What a file is that begins with `head`. */
export function foreignFile(head: Uint8Array, path: string): string | undefined {
  const text = Buffer.from(head).toString('latin1')
  if (head.length === 0) return 'it is empty. A download or a copy may have been broken off; get it again'
  if (/^\s*(<!doctype html|<html|<\?xml|<head)/i.test(text))
    return (
      "it is a web page. The file itself is behind the page's download link; " +
      '`residual pull OWNER/REPOSITORY` brings one from the Hugging Face hub'
    )
  if (text.startsWith('version https://git-lfs'))
    return (
      'it is a pointer of Git LFS, which stands for the file. `git lfs pull` in its folder brings that, ' +
      'and so does `residual pull OWNER/REPOSITORY`'
    )
  if (text.startsWith('\x93NUMPY'))
    return 'it is an array of numpy. Save all arrays of the network in one file by safetensors.numpy.save_file'
  if (basename(path) === 'saved_model.pb' || /\.pb$/.test(path))
    return `it is a graph of TensorFlow. Load the model in Python and ${asKeras}, or convert it to ONNX by tf2onnx`
  if (head[0] === 0x1f && head[1] === 0x8b) return 'it is compressed by gzip. Unpack it first'
  if (/^(7z\xbc\xaf|Rar!|\xfd7zXZ|BZh|\x28\xb5\x2f\xfd)/.test(text))
    return 'it is a compressed archive. Unpack it first'
  if (text.slice(4, 8) === 'TFL3')
    return `it is a model of TensorFlow Lite. Take the model it was made of, and ${asKeras}`
  if (text.startsWith('GGUF') || text.startsWith('GGML'))
    return 'it is a file of llama.cpp, which holds no convolutional network'
  return undefined
}

/** What a zip is that has these entries, and is no `.keras` file. */
export function foreignZip(names: readonly string[]): string | undefined {
  const has = (pattern: RegExp) => names.some(name => pattern.test(name))
  if (has(/^[^/]+\/data\.pkl$/)) return undefined // PyTorch's
  if (has(/(^|\/)(serialized_exported_program\.json|archive_format|models\/\w+\.json)$/))
    return `it is a program exported by torch.export ('.pt2'). Of the model it was made of ${asPyTorch}`
  if (names.length > 0 && names.every(name => name.endsWith('.npy')))
    return "it is an archive of numpy arrays ('.npz'). Save them by safetensors.numpy.save_file(dict(numpy.load(file)), ...)"
  if (has(/(^|\/)saved_model\.pb$/))
    return `it is a packed model of TensorFlow. Load it in Python and ${asKeras}`
  if (has(/\.(pth|pt|bin|safetensors|onnx|h5|keras|pdparams)$/))
    return 'it is an archive that has a checkpoint in it. Unpack it first'
  return undefined
}
