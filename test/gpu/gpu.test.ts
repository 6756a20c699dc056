import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import {
  createSession,
  findBackends,
  load,
  lower,
  type Plan,
  resnet,
  type SessionOptions,
  type WeightSource,
} from '../../lib/index.ts'
import { goldenImages, goldenWeights, relativeError } from '../support/golden.ts'
import { opCases } from '../support/op-cases.ts'
import { threeImages, tinyBytes, tinyPlan, tinyWeights } from '../support/tiny.ts'
import { tolerances } from '../support/twin.ts'

const cuda = (await findBackends()).find(backend => backend.name === 'cuda')!
const skipped = cuda.available ? undefined : `skipped, all of it: there is no GPU to test on. ${cuda.details}`
if (skipped) console.log(skipped)

const cache = mkdtempSync(join(tmpdir(), 'residual-gpu-'))
afterAll(() => rmSync(cache, { recursive: true }))

const outputs = ['logits', 'probabilities', 'features', 'featureMaps'] as const
const precisions = ['fp32', 'tf32', 'fp16', 'bf16'] as const
type Case = readonly [plan: Plan, weights: WeightSource]

const onGpu = ([plan, weights]: Case, options: SessionOptions = {}) =>
  createSession(plan, weights, { device: 'cuda', planCache: cache, ...options })
const onCpu = ([plan, weights]: Case) => createSession(plan, weights, { device: 'cpu', exact: true })
const tiny: Case = [tinyPlan, tinyWeights]

function resnet50(size: number): Case {
  const network = resnet({ layers: 50, classes: 100 })
  const shape = { height: size, width: size, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] }
  return [lower(network, shape), goldenWeights(network)]
}

const noise = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 97 + ((i * i) >> 5)) & 255)

/** Of GPU 0, all processes together. */
function usedMebibytes(): number {
  const query = ['--query-gpu=memory.used', '--format=csv,noheader,nounits', '-i', '0']
  return Number(execFileSync('nvidia-smi', query, { encoding: 'utf8' }))
}

describe.skipIf(skipped).each(precisions)('ResNet-50 in %s', precision => {
  it('has the logits of the CPU, replayed and eager alike', async () => {
    const network = resnet50(96)
    await using cpu = await onCpu(network)
    await using replayed = await onGpu(network, { precision, maxBatch: 8 })
    await using eager = await onGpu(network, { precision, maxBatch: 8, cudaGraph: false })
    for (const n of [1, 3, 8, 11]) {
      const input = noise(n * 96 * 96 * 3)
      const expected = await cpu.run(input, { outputs })
      const actual = await replayed.run(input, { outputs })
      for (const name of outputs)
        expect(relativeError(actual[name], expected[name]), name).toBeLessThan(tolerances[precision])
      expect(await eager.run(input, { outputs })).toEqual(actual)
    }
  })

  it.each(opCases)('computes each kind of operation: $title', async ({ network, shape, batch }) => {
    const unit = { mean: Array(shape.channels).fill(0), std: Array(shape.channels).fill(1) }
    const item: Case = [lower(network, { ...shape, ...unit }), goldenWeights(network)]
    await using cpu = await onCpu(item)
    await using gpu = await onGpu(item, { precision, batchSizes: [batch] })
    const input = goldenImages(batch, shape)
    const [expected, actual] = [await cpu.run(input, { outputs }), await gpu.run(input, { outputs })]
    for (const name of outputs)
      expect(relativeError(actual[name], expected[name]), name).toBeLessThan(tolerances[precision])
  })
})

describe.skipIf(skipped)('the bundled model', () => {
  it('sees what the CPU sees', async () => {
    const images = ['airplane', 'automobile', 'deer', 'frog', 'ship'].map(name =>
      join('samples', `${name}.jpg`),
    )
    await using cpu = await load('resnet50-cifar10', { device: 'cpu' })
    await using gpu = await load('resnet50-cifar10', { device: 'cuda', planCache: cache })
    const labels = async (model: typeof cpu) =>
      (await model.classify(images, { topK: 1 })).map(([first]) => first!.label)
    expect(await labels(gpu)).toEqual(await labels(cpu))
  })
})

describe.skipIf(skipped)('a session on a GPU', () => {
  it('holds as much memory after 10,000 runs as before them', async () => {
    await using session = await onGpu(tiny, { maxBatch: 4 })
    const inputs = [1, 3, 4, 9].map(tinyBytes)
    const run = async (count: number) => {
      for (let i = 0; i < count; i++) await session.run(inputs[i % inputs.length]!, { outputs: ['logits'] })
    }
    await run(1000)
    const before = { gpu: usedMebibytes(), host: process.memoryUsage.rss() }
    await run(10_000)
    expect(usedMebibytes()).toBe(before.gpu)
    expect(process.memoryUsage.rss() - before.host).toBeLessThan(50 * 2 ** 20)
  })

  it('keeps runs apart that are under way together, in it and in another', async () => {
    await using one = await onGpu(tiny, { batchSizes: [1] })
    await using a = await onGpu(tiny, { batchSizes: [1, 4] })
    await using b = await onGpu(tiny, { batchSizes: [2] })
    const inputs = Array.from({ length: 50 }, (_, i) => threeImages(i))
    const results = await Promise.all(
      inputs.flatMap(input => [a, b].map(session => session.run(input, { outputs }))),
    )
    for (const [i, result] of results.entries()) {
      const expected = await one.run(inputs[i >> 1]!, { outputs })
      for (const name of outputs) expect(relativeError(result[name], expected[name])).toBeLessThan(2e-3)
    }
  })

  it('says how much memory was asked for and free when there is too little, and goes on', async () => {
    const network = resnet50(224)
    await using session = await onGpu(network, { batchSizes: [1, 65_536] })
    const small = noise(224 * 224 * 3)
    const expected = await session.run(small)
    const error = await session.run(noise(2 * 224 * 224 * 3)).catch(e => e)
    expect(error).toMatchObject({ code: 'OUT_OF_MEMORY' })
    expect(error.message).toMatch(/\d+ MiB asked for, \d+ MiB of \d+ MiB free/)
    expect(await session.run(small)).toEqual(expected)
  })

  it('is as right with the candidates that were timed, and starts faster the second time', async () => {
    const network = resnet50(64)
    await using cpu = await onCpu(network)
    const input = noise(4 * 64 * 64 * 3)
    const expected = await cpu.run(input)
    const seconds: number[] = []
    for (let i = 0; i < 2; i++) {
      const begin = performance.now()
      await using gpu = await onGpu(network, { autotune: true, batchSizes: [4] })
      const actual = await gpu.run(input)
      seconds.push((performance.now() - begin) / 1000)
      expect(relativeError(actual.logits, expected.logits)).toBeLessThan(tolerances.fp16)
    }
    console.log(`the first session took ${seconds[0]!.toFixed(1)} s, the second ${seconds[1]!.toFixed(1)} s`)
    expect(seconds[1]).toBeLessThan(seconds[0]!)
  })
})
