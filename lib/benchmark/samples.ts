// The images of a benchmark: as bytes, as they come from a decoder, and normalised as networks take them.
import { inputShape, type Plan } from '../model/plan.ts'
import type { Images, Samples } from './engine.ts'

/** Enough for a first look at how often engines agree. */
export const defaultSamples = 32

const wavesPerChannel = 3

/** Colourful patterns, each different, and the same for the same seed. */
export function generateSamples(plan: Plan, count: number, seed = 1): Samples {
  const { height, width, channels } = inputShape(plan)
  const bytes = new Uint8Array(count * height * width * channels)
  const random = pseudoRandom(seed)
  for (let image = 0; image < count; image++)
    for (let channel = 0; channel < channels; channel++) {
      const begin = image * height * width * channels + channel
      const base = 255 * random()
      const waves = Array.from({ length: wavesPerChannel }, () => ({
        amplitude: 90 * random(),
        down: (random() - 0.5) * 40, // radians over the whole image
        across: (random() - 0.5) * 40,
        phase: 2 * Math.PI * random(),
      }))
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) {
          let value = base + 16 * (random() - 0.5)
          for (const { amplitude, down, across, phase } of waves)
            value += amplitude * Math.sin(phase + (down * y) / height + (across * x) / width)
          bytes[begin + (y * width + x) * channels] = Math.min(255, Math.max(0, Math.round(value)))
        }
    }
  return { bytes, dims: [count, height, width, channels] }
}

/** Numbers from 0 up to 1: a linear congruential generator modulo 2^32 (Numerical Recipes, chapter 7). */
function pseudoRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** `batch` of the samples from one on; after the last comes the first. */
export function batchOf(plan: Plan, { bytes, dims }: Samples, begin: number, batch: number): Images {
  const [count, height, width, channels] = dims
  const size = height * width * channels
  const chosen = new Uint8Array(batch * size)
  for (let i = 0; i < batch; i++) {
    const image = (begin + i) % count
    chosen.set(bytes.subarray(image * size, (image + 1) * size), i * size)
  }
  return { bytes: chosen, data: normalised(plan, chosen), dims: [batch, height, width, channels] }
}

/** As a network takes bytes. */
function normalised(plan: Plan, bytes: Uint8Array): Float32Array {
  const [normalize] = plan.ops
  if (normalize?.kind !== 'normalize') throw new Error('A plan begins by normalising.')
  const { mean, std } = normalize
  const tables = mean.map((value, c) =>
    Float32Array.from({ length: 256 }, (_, byte) => (byte / 255 - value) / std[c]!),
  )
  const data = new Float32Array(bytes.length)
  for (let i = 0; i < bytes.length; i += tables.length)
    for (const [c, table] of tables.entries()) data[i + c] = table[bytes[i + c]!]!
  return data
}

/** A batch of generated images. */
export function imagesFor(plan: Plan, batch: number): Images {
  return batchOf(plan, generateSamples(plan, batch), 0, batch)
}
