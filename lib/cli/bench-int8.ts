// The quantized model of `residual bench`, made as `residual quantize` makes one.
import type { Samples } from '../benchmark/engine.ts'
import { type OpenModel, openModel } from '../open-model.ts'
import { quantize } from '../quantize/quantize.ts'

/**
 * Quantizes a model with default options, to the file `out`, and opens it.
 *
 * @param model as for {@link openModel}
 * @param images already preprocessed
 * @throws ResidualError whatever {@link quantize} throws
 */
export async function quantizedModel(model: string, images: Samples, out: string): Promise<OpenModel> {
  const { bytes, dims } = images
  const [count, height, width, channels] = dims
  const size = height * width * channels
  const { default: sharp } = await import('sharp') // it takes long to load
  const raw = { height, width, channels: channels as 3 }
  const files: Buffer[] = []
  for (let i = 0; i < count; i++) {
    const pixels = bytes.subarray(i * size, (i + 1) * size)
    files.push(await sharp(pixels, { raw }).png({ compressionLevel: 1 }).toBuffer())
  }
  // They are of the network's size and in its order of channels already.
  const preprocessing = { steps: [{ resize: { height, width } }], channels: 'RGB' } as const
  await quantize(model, out, { images: files, preprocessing })
  return openModel(out)
}
