import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { toNchw } from '../../lib/benchmark/nchw.ts'
import { createSession, load, lower, networkToOnnx, planToOnnx, resnet } from '../../lib/index.ts'
import { reducedPlan } from '../../lib/model/reduce.ts'
import { saveQuantizedModel } from '../../lib/save-model.ts'
import { goldenImages, goldenWeights, relativeError } from '../support/golden.ts'
import { opCases } from '../support/op-cases.ts'
import { rangesFor } from '../support/quantized.ts'

const outputs = ['logits', 'probabilities', 'features', 'featureMaps'] as const
const bound = 2e-5

/** Runs an ONNX file on a batch `[N,H,W,C]`. */
async function onnxruntime(
  onnx: Uint8Array | string,
  input: Float32Array,
  dims: readonly [number, number, number, number],
) {
  const options = { logSeverityLevel: 3 } as const
  const session =
    typeof onnx === 'string'
      ? await InferenceSession.create(onnx, options)
      : await InferenceSession.create(onnx, options)
  const [n, h, w, c] = dims
  const results = await session.run({ x: new Tensor('float32', toNchw(input, dims), [n, c, h, w]) })
  await session.release()
  return results
}

/** `[N,C,H,W]` to `[N,H,W,C]`. */
const toNhwc = (tensor: Tensor) => {
  const [n, c, h, w] = tensor.dims as [number, number, number, number]
  return toNchw(tensor.data as Float32Array, [n, c, 1, h * w]) // the same, with the roles changed
}

describe('exported networks, folded and not,', () => {
  it.each(opCases)('give onnxruntime the results of residual: $title', async ({ network, shape, batch }) => {
    const weights = goldenWeights(network)
    const input = goldenImages(batch, shape)
    const unit = { mean: Array(shape.channels).fill(0), std: Array(shape.channels).fill(1) }
    const plan = lower(network, { ...shape, ...unit })
    await using session = await createSession(plan, weights, { device: 'cpu' })
    const expected = await session.run(input, { outputs })
    const dims = [batch, shape.height, shape.width, shape.channels] as const
    const exported = [
      await networkToOnnx(network, weights, shape),
      await planToOnnx(plan, weights),
      // How a plan keeps its values is no part of the file, which is in float32.
      await planToOnnx(reducedPlan(plan, { precision: 'bf16' }), weights),
    ]
    for (const onnx of exported) {
      const actual = await onnxruntime(onnx, input, dims)
      for (const name of ['logits', 'features', 'probabilities'] as const)
        if (actual[name])
          expect(relativeError(actual[name].data as Float32Array, expected[name]), name).toBeLessThan(bound)
      expect(relativeError(toNhwc(actual.featureMaps as Tensor), expected.featureMaps)).toBeLessThan(bound)
    }
  })
})

describe('residual export', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'residual-export-'))
  })
  afterAll(() => rm(folder, { recursive: true }))
  const residual = (...args: string[]) =>
    promisify(execFile)(process.execPath, [join(packageRoot, 'bin', 'residual.js'), ...args])

  it('writes the bundled model, folded and not, and onnxruntime classifies alike', async () => {
    await using model = await load('resnet50-cifar10', { device: 'cpu' })
    const { pixels } = await model.prepare(join(packageRoot, 'samples', 'frog.jpg'))
    const { mean, std } = model.preprocessing
    const input = Float32Array.from(pixels, (byte, i) => (byte / 255 - mean[i % 3]!) / std[i % 3]!)
    const expected = await model.run(input, { outputs: ['logits', 'probabilities'] })
    for (const flags of [[], ['--folded']]) {
      const file = join(folder, `model${flags.length}.onnx`)
      const { stdout } = await residual('export', file, ...flags)
      expect(stdout).toContain('[N,3,64,64]')
      const actual = await onnxruntime(file, input, [1, 64, 64, 3])
      expect(relativeError(actual.logits!.data as Float32Array, expected.logits)).toBeLessThan(bound)
    }
    const [plain, folded] = await Promise.all(
      [0, 1].map(i => readFile(join(folder, `model${i}.onnx`), 'latin1')),
    )
    expect(plain).toContain('layer1.0.bn1.running_mean')
    expect(folded).not.toContain('running_mean')
  })

  it('writes a quantized model as it is computed, or as what it stands for', async () => {
    const options = { layers: 18, width: 1 / 8, classes: 10 }
    const network = resnet(options)
    const weights = goldenWeights(network)
    const [mean, std] = [Array(3).fill(0.5), Array(3).fill(0.25)]
    const plan = lower(network, { height: 64, width: 64, mean, std })
    const images = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 251)
    const quantization = await rangesFor(plan, weights, images)
    const model = join(folder, 'quantized.safetensors')
    const steps = [{ crop: { height: 64, width: 64 } }]
    const preprocessing = { steps, mean, std, interpolation: 'bilinear' } as const
    await saveQuantizedModel(model, { architecture: options, weights, preprocessing }, { quantization })
    const [int8, fp32] = ['int8', 'fp32'].map(name => join(folder, `quantized-${name}.onnx`)) as [
      string,
      string,
    ]
    const first = await residual('export', int8, '--model', model)
    expect(first.stdout).toContain('as ONNX, quantized (QDQ)')
    const second = await residual('export', fp32, '--model', model, '--precision', 'fp32')
    expect(second.stdout).toContain('as ONNX, layer by layer')
    const input = Float32Array.from(images, byte => (byte / 255 - 0.5) / 0.25)
    const [quantized, float] = await Promise.all(
      [int8, fp32].map(
        async file => (await onnxruntime(file, input, [1, 64, 64, 3])).logits!.data as Float32Array,
      ),
    )
    const difference = relativeError(quantized!, float!)
    expect(difference).toBeLessThan(0.05)
    expect(difference).toBeGreaterThan(1e-4)
    const { length } = await readFile(int8)
    expect(length / (await readFile(fp32)).length).toBeLessThan(0.4)
    const inspected = await residual('inspect', int8, '--stats')
    expect(inspected.stdout).toMatch(/^quantization +int8$/m)
    expect(inspected.stdout).toMatch(/^layer1\.0\.conv2\.weight +I8 \[8,8,3,3\] /m)
    const refused = await residual('export', int8, '--precision', 'int8').catch(error => error)
    expect(refused.stderr).toContain('[PRECISION_UNSUPPORTED]')
  })

  it('leaves nothing behind if it cannot write', async () => {
    const before = await readdir(folder)
    const failed = await residual('export', join(folder, 'no', 'such', 'folder.onnx')).catch(error => error)
    expect(failed.stderr).toContain('[FILE_WRITE_FAILED]')
    expect(await readdir(folder)).toEqual(before)
    const unknown = await residual('export', join(folder, 'x.onnx'), '--to', 'tflite').catch(error => error)
    expect(unknown.stderr).toMatch(/Allowed choices are onnx/)
  })
})
