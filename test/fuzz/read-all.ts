// Reads everything in an opened checkpoint, including the way the addon would.
import type { Checkpoint } from '../../lib/weights/checkpoint/checkpoint.ts'
import { scaleIntegers } from '../../lib/weights/tensors/quantized-tensor.ts'
import { storedBytes, toFloat32 } from '../../lib/weights/tensors/stored-type.ts'

/** `bytes` are the whole file. Throws the first problem with a code once all tensors were read, any other at once. */
export async function readAll(file: Checkpoint, bytes: Uint8Array): Promise<void> {
  let problem: unknown
  for (const tensor of file.tensors.keys()) {
    try {
      await compare(file, tensor, await file.read(tensor), bytes)
    } catch (error) {
      problem ??= error
      const { name, code, message } = error as { name?: string; code?: string; message: string }
      if (name !== 'ResidualError') throw error
      // Only numbers themselves are the addon's to refuse.
      const isOfNumbers = code === 'NON_FINITE' || message.endsWith('outside -127 to 127.')
      if (!isOfNumbers && (await isBelieved(file, tensor)))
        throw new Error(`'${tensor}' is left to the addon: ${error}`)
    }
  }
  if (problem !== undefined) throw problem
}

/** Checks that the integers, or the bytes that the addon would read, give what `read` returned. */
async function compare(
  file: Checkpoint,
  tensor: string,
  values: Float32Array,
  bytes: Uint8Array,
): Promise<void> {
  const quantized = await file.readIntegers?.(tensor)
  if (quantized) {
    const scaled = new Float32Array(values.length)
    scaleIntegers(quantized, scaled)
    const isOut = quantized.integers.includes(-128) || quantized.integers.length !== values.length
    if (isOut || scaled.some((value, i) => !Object.is(value, values[i])))
      throw new Error(`'${tensor}' is not what its integers stand for`)
  }
  const stored = file.stored?.(tensor)
  if (!stored) return
  await stored.check?.()
  const { type, place } = stored
  const size = values.length * storedBytes[type]
  const there = new Uint8Array(bytes.subarray(place.position, place.position + size)) // aligned
  if (there.length !== size) throw new Error(`'${tensor}' is beyond the end of the file`)
  const read = new Float32Array(values.length)
  if (type === 'I8')
    scaleIntegers({ integers: new Int8Array(there.buffer), scales: await stored.readScales!() }, read)
  else toFloat32(type, there, read)
  if (read.some((value, i) => !Object.is(value, values[i])))
    throw new Error(`'${tensor}' is not what lies there`)
}

async function isBelieved(file: Checkpoint, tensor: string): Promise<boolean> {
  const stored = file.stored?.(tensor)
  if (!stored) return false
  const checked = [stored.check?.(), stored.readScales?.()]
  return await Promise.all(checked).then(
    () => true,
    () => false,
  )
}
