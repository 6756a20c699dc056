import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { packageRoot } from '../lib/base/package-root.ts'
import {
  type Activation,
  activations,
  createSession,
  load,
  lower,
  networkToOnnx,
  openModel,
  planToOnnx,
  resnet,
  type SavedModel,
  saveModel,
} from '../lib/index.ts'
import { residual } from './support/command-line.ts'
import { temporaryFolder } from './support/files.ts'
import { relativeError } from './support/golden.ts'
import { side, smallPreprocessing, withLogits } from './support/known-logits.ts'
import { runNaively } from './support/naive.ts'
import { post, sampleImage, startServer } from './support/server.ts'
import { tinyInput, tinyNetwork, tinyShape, tinyWeights } from './support/tiny.ts'
import { noTwin, tolerances, useTwin } from './support/twin.ts'

const folder = temporaryFolder()
const ship = join(packageRoot, 'samples', 'ship.jpg')
let files = 0

afterEach(() => vi.unstubAllEnvs()) // of the twin

/** The path of a new checkpoint that gives these logits. */
async function saved(logits: readonly number[], more: Partial<SavedModel> = {}): Promise<string> {
  const path = join(folder, `model${files++}.safetensors`)
  await saveModel(path, { ...withLogits(logits), ...more })
  return path
}

async function probabilities(path: string, options = {}): Promise<number[]> {
  await using classifier = await load(path, { device: 'cpu', threads: 1, ...options })
  const [predictions] = await classifier.classify([ship], { topK: classifier.labels.length })
  return predictions!.sort((a, b) => a.index - b.index).map(({ probability }) => probability)
}

const rounded = (values: readonly number[]) => values.map(value => Number(value.toFixed(3)))

describe('a session', () => {
  const unit = { mean: [0, 0, 0], std: [1, 1, 1] }
  it.each(activations)('turns logits into probabilities by %s', async activation => {
    const plan = lower(tinyNetwork, { ...tinyShape, ...unit, activation })
    const expected = await runNaively(tinyNetwork, tinyWeights, tinyInput(3), tinyShape, activation)
    await using session = await createSession(plan, tinyWeights, { device: 'cpu' })
    const actual = await session.run(tinyInput(3), { outputs: ['probabilities', 'logits'] })
    expect(relativeError(actual.probabilities, expected.probabilities)).toBeLessThan(1e-5)
    expect(relativeError(actual.logits, expected.logits)).toBeLessThan(1e-5)
    expect((await session.run(tinyInput(3), { outputs: ['probabilities'] })).probabilities).toEqual(
      actual.probabilities,
    )
  })

  it
    .skipIf(noTwin)
    .each(activations.flatMap(each => (['fp32', 'fp16'] as const).map(p => [each, p] as const)))(
    'makes them by %s in %s on a GPU, replayed and eager alike',
    async (activation, precision) => {
      const plan = lower(tinyNetwork, { ...tinyShape, ...unit, activation })
      const expected = await runNaively(tinyNetwork, tinyWeights, tinyInput(3), tinyShape, activation)
      const outputs = ['probabilities', 'logits'] as const
      for (const cudaGraph of [true, false]) {
        const options = { ...useTwin(), precision, maxBatch: 4, cudaGraph }
        await using session = await createSession(plan, tinyWeights, options)
        const actual = await session.run(tinyInput(3), { outputs })
        for (const name of outputs)
          expect(relativeError(actual[name], expected[name]), name).toBeLessThan(tolerances[precision])
      }
    },
  )

  it('accepts no other activation', () => {
    const activation = 'tanh' as Activation
    expect(() => lower(tinyNetwork, { ...tinyShape, ...unit, activation })).toThrow(RangeError)
  })
})

describe('the activation of a model', () => {
  it.each([
    [2.06, 0.887],
    [0.29, 0.572],
  ])('of one class is a sigmoid: the logit %d is the probability %d', async (logit, probability) => {
    expect(rounded(await probabilities(await saved([logit])))).toEqual([probability])
  })

  it.each([
    [undefined, [0.225, 0.275, 0.499]],
    ['softmax', [0.225, 0.275, 0.499]],
    ['sigmoid', [0.599, 0.646, 0.769]],
    ['none', [0.4, 0.6, 1.2]],
  ] as const)('is %s if the record says so', async (activation, expected) => {
    const path = await saved([0.4, 0.6, 1.2], activation && { activation })
    const found = rounded(await probabilities(path))
    expect(found.map((value, i) => Math.abs(value - expected[i]!) < 0.0011)).toEqual([true, true, true])
    await using model = await openModel(path)
    expect(model.activation).toBe(activation ?? 'softmax')
    // What somebody says goes before what lies there.
    expect(rounded(await probabilities(path, { activation: 'none' }))).toEqual([0.4, 0.6, 1.2])
  })

  it('is taken from a safetensors file without a record', async () => {
    const path = await saved([1, 2], { activation: 'sigmoid' })
    writeFileSync(path.replace('.safetensors', '.json'), '{}')
    await using model = await openModel(path, { preprocessing: smallPreprocessing })
    expect(model.activation).toBe('sigmoid')
  })

  it.each([
    ['single_label_classification', 'softmax'],
    ['multi_label_classification', 'sigmoid'],
    ['regression', 'none'],
    [null, 'softmax'],
  ] as const)("follows transformers' problem_type %s: %s", async (problem_type, activation) => {
    const own = join(folder, `${problem_type}`)
    mkdirSync(own)
    await saveModel(join(own, 'model.safetensors'), withLogits([1, 2]))
    writeFileSync(join(own, 'model.json'), '{}')
    writeFileSync(join(own, 'config.json'), JSON.stringify({ model_type: 'resnet', problem_type }))
    await using model = await openModel(own)
    expect(model.activation).toBe(activation)
  })

  it('is refused if its name is unknown', async () => {
    const path = await saved([1, 2])
    await expect(openModel(path, { activation: 'tanh' as Activation })).rejects.toThrow(RangeError)
    const record = path.replace('.safetensors', '.json')
    writeFileSync(record, JSON.stringify({ activation: 'tanh' }))
    const refused = { code: 'MODEL_INVALID', message: expect.stringContaining("'activation'") }
    await expect(openModel(path)).rejects.toMatchObject(refused)
    const config = join(folder, 'config.json')
    writeFileSync(record, '{}')
    writeFileSync(config, JSON.stringify({ model_type: 'resnet', problem_type: 'ranking' }))
    await expect(openModel(path)).rejects.toMatchObject({ code: 'MODEL_INVALID' })
    writeFileSync(config, '{}')
  })
})

describe('an ONNX file', () => {
  const architecture = { layers: 18, classes: 3, width: 1 / 16 }
  const extent = { height: side, width: side }
  it.each(activations)('has the activation %s, folded or not, and is read with it', async activation => {
    const { weights } = withLogits([0.4, 0.6, 1.2])
    const network = resnet(architecture)
    const plan = lower(network, { ...extent, mean: [0, 0, 0], std: [1, 1, 1], activation })
    const expected = { softmax: [0.225, 0.275, 0.501], sigmoid: [0.599, 0.646, 0.769], none: [0.4, 0.6, 1.2] }
    for (const onnx of [
      await networkToOnnx(network, weights, { ...extent, activation }),
      await planToOnnx(plan, weights),
    ]) {
      const session = await InferenceSession.create(onnx, { logSeverityLevel: 3 })
      const x = new Tensor('float32', new Float32Array(side * side * 3), [1, 3, side, side])
      const { probabilities } = await session.run({ x })
      await session.release()
      const found = [...(probabilities!.data as Float32Array)]
      expect(found.map((value, i) => Math.abs(value - expected[activation][i]!) < 0.0011)).toEqual([true, true, true]) // biome-ignore format: short
      const path = join(folder, `model${files++}.onnx`)
      writeFileSync(path, onnx)
      await using model = await openModel(path)
      expect(model.activation).toBe(activation)
    }
  })
})

describe('the command line', () => {
  const run = async (...args: string[]) => residual(folder, args)

  it('prints the classes that reach a threshold, and logits as plain numbers', async () => {
    const labels = ['cat', 'dog', 'hat']
    const path = await saved([2, -1, 0.5], { labels, activation: 'sigmoid' })
    const { stdout } = await run('classify', '--model', path, '--threshold', '0.5', ship)
    expect(stdout).toMatch(/classes of at least 50\.0 %\n.*cat 88\.1 % +hat 62\.2 %$/m)
    expect(stdout).not.toContain('dog')
    expect((await run('classify', '--model', path, '--threshold', '0.9', ship)).stdout).toMatch(/none$/m)
    const one = await run('classify', '--model', path, '--threshold', '0.5', '--top-k', '1', '--json', ship)
    const [{ activation, predictions }] = JSON.parse(one.stdout)
    expect([activation, predictions.map(({ label }: { label: string }) => label)]).toEqual([
      'sigmoid',
      ['cat'],
    ])
    const none = await run('classify', '--model', path, '--activation', 'none', ship)
    expect(none.stdout).toMatch(/top 5\n.*cat 2\.000 +hat 0\.5000 +dog -1\.000$/m)
  })

  it('compiles, converts, inspects and exports with the same activation', async () => {
    const path = await saved([2.06])
    const inspected = await run('inspect', path)
    expect(inspected.stdout).toMatch(/^activation +sigmoid$/m)
    expect((await run('inspect', path, '--activation', 'none')).stdout).toMatch(/^activation +none$/m)
    expect((await run('info', '--plan', path)).stdout).toMatch(/^sigmoid /m)
    const converted = join(folder, 'converted.safetensors')
    await run('convert', path, converted, '--activation', 'none')
    expect(JSON.parse(readFileSync(join(folder, 'converted.json'), 'utf8')).activation).toBe('none')
    const onnx = join(folder, 'exported.onnx')
    await run('export', onnx, '--model', path)
    expect((await run('inspect', onnx)).stdout).toMatch(/^activation +sigmoid$/m)
  })
})

it('the server says the same, and names the activation', async () => {
  const path = await saved([2.06, -1], { activation: 'sigmoid' })
  for (const [options, expected] of [
    [{}, { activation: 'sigmoid', first: 0.887 }],
    [{ activation: 'none' }, { activation: 'none', first: 2.06 }],
  ] as const) {
    const server = await startServer({ models: [path], threads: 1, ...options })
    try {
      const { json } = await post(`${server.url}/classify`, sampleImage('ship'))
      expect(json.activation).toBe(expected.activation)
      expect(json.results[0].predictions[0].probability).toBeCloseTo(expected.first, 3)
    } finally {
      await server.stop()
    }
  }
})
