// Files mistaken for supported checkpoints: what they are, and what to do with them.
import { basename } from 'node:path'

/** Remedies, to be used within a sentence. */
const asPyTorch = 'save the weights with torch.save(model.state_dict(), ...)'
const asKeras = "save it with Keras as '.keras' or '.h5'"

/** What a file that begins with `head` is, if it is known. */
export function foreignFile(head: Uint8Array, path: string): string | undefined {
  const text = Buffer.from(head).toString('latin1')
  if (head.length === 0) return 'it is empty. A download or copy may have been interrupted; get it again'
  if (/^\s*(<!doctype html|<html|<\?xml|<head)/i.test(text))
    return (
      "it is a web page. The file itself is behind the page's download link; " +
      '`residual pull OWNER/REPOSITORY` downloads one from the Hugging Face hub'
    )
  if (text.startsWith('version https://git-lfs'))
    return (
      'it is a Git LFS pointer, not the file itself. Fetch the file with `git lfs pull` in its folder, ' +
      'or with `residual pull OWNER/REPOSITORY`'
    )
  if (text.startsWith('\x93NUMPY'))
    return 'it is a single numpy array. Save all arrays of the network in one file with safetensors.numpy.save_file'
  if (basename(path) === 'saved_model.pb' || /\.pb$/.test(path))
    return `it is a TensorFlow graph. Load the model in Python and ${asKeras}, or convert it to ONNX with tf2onnx`
  if (head[0] === 0x1f && head[1] === 0x8b) return 'it is compressed with gzip. Unpack it first'
  if (/^(7z\xbc\xaf|Rar!|\xfd7zXZ|BZh|\x28\xb5\x2f\xfd)/.test(text))
    return 'it is a compressed archive. Unpack it first'
  if (text.slice(4, 8) === 'TFL3')
    return `it is a TensorFlow Lite model. Take the model it was converted from and ${asKeras}`
  if (text.startsWith('GGUF') || text.startsWith('GGML'))
    return 'it is a llama.cpp file, which never holds a convolutional network'
  return undefined
}

/** What a zip with these entries is, if it is known. It is not a `.keras` file. */
export function foreignZip(names: readonly string[]): string | undefined {
  const has = (pattern: RegExp) => names.some(name => pattern.test(name))
  if (has(/^[^/]+\/data\.pkl$/)) return undefined // PyTorch's
  if (has(/(^|\/)(serialized_exported_program\.json|archive_format|models\/\w+\.json)$/))
    return `it is a program exported by torch.export ('.pt2'). Take the model it was exported from and ${asPyTorch}`
  if (names.length > 0 && names.every(name => name.endsWith('.npy')))
    return "it is an archive of numpy arrays ('.npz'). Save them with safetensors.numpy.save_file(dict(numpy.load(file)), ...)"
  if (has(/(^|\/)saved_model\.pb$/))
    return `it is a zipped TensorFlow model. Load it in Python and ${asKeras}`
  if (has(/\.(pth|pt|bin|safetensors|onnx|h5|keras|pdparams)$/))
    return 'it is an archive with a checkpoint in it. Unpack it first'
  return undefined
}
