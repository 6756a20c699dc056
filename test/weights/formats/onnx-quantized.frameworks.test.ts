// Quantized ONNX files as onnxruntime's, PyTorch's and torchao's quantizers write them.
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../../lib/base/package-root.ts'
import { toNchw } from '../../../lib/benchmark/nchw.ts'
import { createSession, load, lower, networkToOnnx } from '../../../lib/index.ts'
import { openModel } from '../../../lib/open-model.ts'
import { openOnnx } from '../../../lib/weights/formats/onnx/open-onnx.ts'
import { recognise } from '../../../lib/weights/names/recognise.ts'
import { temporaryFolder } from '../../support/files.ts'
import { relativeError } from '../../support/golden.ts'
import { runPython } from '../../support/python.ts'

const folder = temporaryFolder()
const side = 64
const perImage = side * side * 3
const photos = ['airplane', 'automobile', 'deer', 'frog', 'ship', 'truck']
const count = 96

let images: Uint8Array
let made: readonly string[]

/** Photographs, brighter and darker, shifted and mirrored. */
async function photographs(): Promise<Uint8Array> {
  await using model = await load('resnet50-cifar10', { device: 'cpu' })
  const originals: Uint8Array[] = []
  for (const photo of photos)
    originals.push((await model.prepare(join(packageRoot, 'samples', `${photo}.jpg`))).pixels)
  return Uint8Array.from({ length: count * perImage }, (_, at) => {
    const [i, c, pixel] = [Math.floor(at / perImage), at % 3, Math.floor((at % perImage) / 3)]
    const [x, y] = [pixel % side, Math.floor(pixel / side)]
    const variant = Math.floor(i / photos.length)
    const from = ((variant % 2 === 0 ? x : side - 1 - x) + 5 * (variant % 4)) % side
    const byte = originals[i % photos.length]![(y * side + from) * 3 + c]!
    return Math.min(255, byte * (0.6 + 0.05 * variant))
  })
}

beforeAll(async () => {
  images = await photographs()
  await using model = await openModel('resnet50-cifar10')
  const { mean, std } = model.preprocessing
  const floats = Float32Array.from(images, (byte, i) => (byte / 255 - mean[i % 3]!) / std[i % 3]!)
  await writeFile(join(folder, 'images.f32'), toNchw(floats, [count, side, side, 3]))
  await writeFile(
    join(folder, 'plain.onnx'),
    await networkToOnnx(model.network, model.weights, { height: side, width: side }),
  )
  made = runPython(readFileSync(new URL('onnx_quantized.py', import.meta.url), 'utf8'), folder)
    .trim()
    .split('\n')
    .filter(line => names.includes(line))
}, 600_000)

/**
 * How far a file's logits may be from onnxruntime's, of their norm, and how many answers must be the same: both round, and not at
 * the same places. PyTorch's networks are random, so all answers are close ones.
 */
const manners = {
  U8S8: { norm: 0.08, answers: 93 },
  'U8S8, batch norms apart': { norm: 0.12, answers: 92 },
  'U8S8, one scale a tensor': { norm: 0.08, answers: 93 },
  'U8U8, one scale a tensor': { norm: 0.08, answers: 93 },
  U8U8: { norm: 0.08, answers: 93 },
  S8S8: { norm: 0.08, answers: 93 },
  'S8S8, symmetric': { norm: 0.12, answers: 93 },
  'S8S8, symmetric, batch norms apart': { norm: 0.17, answers: 92 },
  'U8S8, convolutions only': { norm: 0.08, answers: 93 },
  'U8S8, percentile': { norm: 0.08, answers: 93 },
  'U8S8, rounded at run time': { norm: 0.08, answers: 93 },
  'torch-x86': { norm: 0.12, answers: 86 },
  'torch-qnnpack': { norm: 0.06, answers: 86 },
  'torch-simulated': { norm: 0.06, answers: 86 },
  'torchao-x86': { norm: 0.06, answers: 86 },
} as const
/** Those that do not quantize the classifier, or not what it reads. */
const withoutClassifier: readonly string[] = ['U8S8, convolutions only', 'torch-simulated']
const names: readonly string[] = Object.keys(manners)

describe('a quantized file of another framework', () => {
  it.each(Object.entries(manners))(
    '%s gives its logits, and the same answers',
    async (name, { norm, answers }) => {
      expect(made).toContain(name)
      const bytes = readFileSync(join(folder, `${name}.f32`))
      const expected = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
      await using file = await openOnnx(join(folder, `${name}.onnx`))
      const { network, weights } = recognise(file)
      const kept = Object.keys(weights.quantization!.kept)
      expect(kept).toEqual(withoutClassifier.includes(name) ? ['fc'] : [])
      await using bundled = await openModel('resnet50-cifar10')
      const { mean, std } = bundled.preprocessing
      const plan = lower(network, { height: side, width: side, mean, std })
      await using session = await createSession(plan, weights, { device: 'cpu', threads: 2 })
      expect(session.device).toMatchObject({ precision: 'int8' })
      const logits: number[] = []
      for (let i = 0; i < count; i += 16)
        logits.push(...(await session.run(images.subarray(i * perImage, (i + 16) * perImage))).logits)
      const difference = relativeError(logits, expected)
      const same = agreements(logits, expected)
      console.log(
        `${name}: ${difference.toFixed(3)} of the logits' norm, ${same} of ${count} answers the same`,
      )
      expect(difference).toBeLessThan(norm)
      expect(same).toBeGreaterThanOrEqual(answers)
    },
  )
})

/** How often the best of `a` is the best of `b`, or no further from it than one step of the logits that `b` has been rounded to. */
function agreements(a: ArrayLike<number>, b: Float32Array): number {
  const classes = a.length / count
  const levels = [...new Set(b)].sort((x, y) => x - y)
  const step = Math.min(...levels.slice(1).map((level, i) => level - levels[i]!))
  const indices = Array.from({ length: classes }, (_, k) => k)
  return Array.from({ length: count }, (_, i) => i).filter(i => {
    const best = indices.reduce((best, k) => (a[i * classes + k]! > a[i * classes + best]! ? k : best))
    const logits = b.subarray(i * classes, (i + 1) * classes)
    return logits[best]! >= Math.max(...logits) - 1.5 * step
  }).length
}
