// Initial weights for a network without a checkpoint: random, and the same for the same seed everywhere.
import { checkInteger } from '../errors.ts'
import type { Parameter } from '../model/parameters.ts'
import { product } from '../model/product.ts'
import { tensorNotFound, type WeightSource } from './source.ts'

/**
 * Seeded weights: convolutions normal with standard deviation `sqrt(2 / (R * S * C))` (He et al.,
 * https://arxiv.org/abs/1502.01852, with C the input channels of a group), batch norms the identity, linear weights uniform
 * within `1 / sqrt(C)`, biases 0. A tensor depends only on the seed and its name.
 */
export function initialise(parameters: readonly Parameter[], seed: number): WeightSource {
  checkInteger('seed', seed, 0)
  const byName = new Map(parameters.map(parameter => [parameter.name, parameter]))
  const description = `the initialisation with seed ${seed}`
  return {
    description,
    names: () => byName.keys(),
    shape: name => byName.get(name)?.shape,
    read: async name => {
      const parameter = byName.get(name)
      if (!parameter) throw tensorNotFound(name, description)
      return values(parameter, uniform(seed, name))
    },
  }
}

function values({ role, shape }: Parameter, random: () => number): Float32Array {
  const result = new Float32Array(product(shape))
  switch (role) {
    case 'convWeight': {
      const std = Math.sqrt(2 / (shape[1]! * shape[2]! * shape[3]!))
      // Box-Muller: two uniform numbers give two independent normal ones.
      for (let i = 0; i < result.length; i += 2) {
        const radius = std * Math.sqrt(-2 * Math.log(1 - random()))
        const angle = 2 * Math.PI * random()
        result[i] = radius * Math.cos(angle)
        if (i + 1 < result.length) result[i + 1] = radius * Math.sin(angle)
      }
      return result
    }
    case 'linearWeight': {
      const bound = 1 / Math.sqrt(shape[1]!)
      return result.map(() => bound * (2 * random() - 1))
    }
    case 'bnWeight':
    case 'bnVar':
      return result.fill(1)
    default:
      return result
  }
}

/** Uniform numbers in [0, 1): the generator sfc32 of PractRand, seeded with the seed and a hash (FNV-1a) of the name. */
function uniform(seed: number, name: string): () => number {
  let hash = 0x811c9dc5
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193)
  let [a, b, c, counter] = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, hash >>> 0, 1]
  const next = () => {
    const result = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + result
    return result >>> 0
  }
  for (let i = 0; i < 15; i++) next() // until the seed has affected every bit
  return () => next() / 2 ** 32
}
