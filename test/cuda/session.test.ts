import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  createSession,
  type OutputName,
  type PlanValue,
  type SessionOptions,
  type WeightSource,
} from '../../lib/index.ts'
import { temporaryFolder } from '../support/files.ts'
import { relativeError } from '../support/golden.ts'
import { weightsInRSCK } from '../support/layouts.ts'
import { threeImages, tinyBytes, tinyInput, tinyPlan, tinyWeights } from '../support/tiny.ts'
import { memoryReturned, noTwin, tolerances, useTwin } from '../support/twin.ts'

const temporary = temporaryFolder()
const outputs = ['logits', 'probabilities', 'features', 'featureMaps'] as const
const coded = (code: string) => expect.objectContaining({ name: 'ResidualError', code })
const precisions = ['fp32', 'tf32', 'fp16', 'bf16'] as const

afterEach(() => vi.unstubAllEnvs())

const onCpu = (weights = tinyWeights) => createSession(tinyPlan, weights, { device: 'cpu', threads: 2 })
const onGpu = (options: SessionOptions = {}, twin = {}) =>
  createSession(tinyPlan, tinyWeights, { ...useTwin(twin), ...options })

describe.skipIf(noTwin)('a session on a GPU', () => {
  it('reports its device', async () => {
    await using session = await onGpu({ precision: 'bf16' })
    const name = 'NVIDIA A100-SXM4-40GB (twin)'
    expect(session.device).toEqual({ kind: 'cuda', name, index: 0, precision: 'bf16' })
  })

  it('refuses to time single operations, which overlap, and continues', async () => {
    await using session = await onGpu()
    await expect(session.profile(tinyBytes(1))).rejects.toEqual(coded('BACKEND_UNAVAILABLE'))
    expect((await session.run(tinyBytes(2))).logits).toHaveLength(8)
  })

  it.each(precisions)('computes in %s what the CPU computes, replayed and eager alike', async precision => {
    await using cpu = await onCpu()
    await using replayed = await onGpu({ precision, maxBatch: 4 })
    await using eager = await onGpu({ precision, maxBatch: 4, cudaGraph: false })
    for (const n of [1, 3, 5]) {
      for (const input of [tinyBytes(n), tinyInput(n)]) {
        const expected = await cpu.run(input, { outputs })
        const actual = await replayed.run(input, { outputs })
        for (const name of outputs)
          expect(relativeError(actual[name], expected[name]), name).toBeLessThan(tolerances[precision])
        expect(await eager.run(input, { outputs })).toEqual(actual)
      }
    }
  })

  it.each([true, false])(
    'computes what the outputs that are asked for take and no more, to the same bits (graphs: %s)',
    async cudaGraph => {
      const log = join(temporary, 'log')
      const options = { precision: 'fp16', batchSizes: [2], cudaGraph } as const
      await using session = await onGpu(options, { log })
      const all = await session.run(tinyBytes(2), { outputs })
      const last = tinyPlan.ops.slice(-3).map(({ name }) => name) // pool, linear layer, softmax
      const taken = [
        [['probabilities'], 3],
        [['logits', 'features'], 2],
        [['logits'], 2],
        [['features'], 1],
        [['featureMaps'], 0],
        [['featureMaps', 'probabilities'], 3],
      ] as const
      for (const [wanted, count] of taken) {
        for (const _time of ['captured', 'replayed']) {
          writeFileSync(log, '')
          const result = await session.run(tinyBytes(2), { outputs: wanted })
          expect(result).toEqual(Object.fromEntries(wanted.map(name => [name, all[name]])))
          const lines = new Set(readFileSync(log, 'utf8').split('\n'))
          const done = last.filter(op =>
            [...lines].some(line => line === op || line.endsWith(` for '${op}'`)),
          )
          expect(done, wanted.join()).toEqual(last.slice(0, count))
        }
      }
    },
  )

  it('computes the same with weights in RSCK', async () => {
    await using session = await onGpu({ precision: 'fp32' })
    await using turned = await createSession(tinyPlan, weightsInRSCK(tinyWeights), {
      ...useTwin(),
      precision: 'fp32',
    })
    expect(await turned.run(tinyBytes(2), { outputs })).toEqual(await session.run(tinyBytes(2), { outputs }))
  })

  it('pads small batches and splits large ones, with the same result for each image', async () => {
    const precision = 'fp32' // whose plans cuDNN need not compile
    await using one = await onGpu({ precision, batchSizes: [1] })
    const all = await one.run(tinyBytes(40))
    for (const batchSizes of [[4], [3, 7], [64], [16, 2, 2]]) {
      await using session = await onGpu({ precision, batchSizes })
      for (const n of [1, 2, 4, 5, 9, 40]) {
        const { logits } = await session.run(tinyBytes(n))
        expect(logits).toEqual(all.logits.subarray(0, n * 4))
      }
    }
  })

  it('keeps concurrent runs apart, whatever the order in which streams progress', async () => {
    await using one = await onGpu({ batchSizes: [1] })
    for (let seed = 1; seed <= 6; seed++) {
      await using session = await onGpu({ batchSizes: [1, 2] }, { seed })
      const runs = Array.from({ length: 12 }, async (_, i) => {
        const input = threeImages(i)
        const wanted: OutputName[] = i % 3 === 0 ? ['logits'] : ['probabilities', 'featureMaps']
        return [await session.run(input, { outputs: wanted }), input, wanted] as const
      })
      for (const [actual, input, wanted] of await Promise.all(runs))
        expect(actual).toEqual(await one.run(input, { outputs: wanted }))
    }
  })

  it('keeps weights outside the range of fp16', async () => {
    // Activations stay in range: 1000 times as large after the first convolution, 1/1000 after the second. The folded weights
    // of the second are a millionth, where fp16 has a handful of numbers.
    const factors: { readonly [name: string]: number } = {
      'block.bn1.weight': 1e3,
      'block.bn1.bias': 1e3,
      'block.bn2.running_mean': 1e3,
      'block.bn2.weight': 1e-6,
      'block.bn2.bias': 1e-3,
      'block.bn3.running_mean': 1e-3,
      'block.bn3.weight': 1e3,
    }
    for (const name of Object.keys(factors)) expect(tinyWeights.shape(name), name).toBeDefined()
    const weights: WeightSource = {
      ...tinyWeights,
      read: async name => (await tinyWeights.read(name)).map(x => x * (factors[name] ?? 1)),
    }
    await using cpu = await onCpu(weights)
    await using gpu = await createSession(tinyPlan, weights, { ...useTwin(), precision: 'fp16' })
    const [expected, actual] = [await cpu.run(tinyBytes(2)), await gpu.run(tinyBytes(2))]
    expect(relativeError(actual.logits, expected.logits)).toBeLessThan(tolerances.fp16)
  })

  it('refuses bf16 on a T4', async () => {
    await expect(onGpu({ precision: 'bf16' }, { gpu: 't4' })).rejects.toEqual(coded('PRECISION_UNSUPPORTED'))
    await using session = await onGpu({ precision: 'fp16' }, { gpu: 't4' })
    expect((await session.run(tinyBytes(1))).logits).toHaveLength(4)
  })

  it('refuses a plan that says how a value is kept: there its own option decides', async () => {
    const values = tinyPlan.values.with(1, { ...tinyPlan.values[1]!, precision: 'bf16' } as PlanValue)
    const refused = createSession({ ...tinyPlan, values }, tinyWeights, { ...useTwin(), precision: 'bf16' })
    await expect(refused).rejects.toEqual(coded('PRECISION_UNSUPPORTED'))
    await expect(refused).rejects.toThrow(
      /'block\.conv1' writes bf16, but on CUDA the session's option decides/,
    )
  })

  it('times the candidates if asked to, with the same result', async () => {
    await using cpu = await onCpu()
    await using tuned = await onGpu({ autotune: true, precision: 'fp32', planCache: null, batchSizes: [2] })
    expect(tuned.algorithms).toEqual(tuned.plan.ops.map(() => null)) // they have no names of ours
    const [expected, actual] = [await cpu.run(tinyBytes(2)), await tuned.run(tinyBytes(2))]
    expect(relativeError(actual.logits, expected.logits)).toBeLessThan(tolerances.fp32)
  })
})

describe.skipIf(noTwin)('faults', () => {
  afterEach(async () => {
    useTwin()
    await memoryReturned()
  })

  /** Creates and runs a session in which the `n`-th call of a kind fails; true once none did. */
  async function survives(kind: string, n: number, code: string, options: SessionOptions): Promise<boolean> {
    await using good = await onGpu(options)
    // Other images each time: a copy that a failed run left under way would take those of the next.
    const inputs = [0, 1, 2].map(threeImages)
    const expected = await Promise.all(inputs.map(input => good.run(input, { outputs })))
    const session = await onGpu(options, { faults: `${kind}:${n}` }).catch(error => {
      expect(error).toEqual(coded(code))
      return null
    })
    if (!session) return false
    let failed = false
    for (const [i, input] of inputs.entries()) {
      const result = await session.run(input, { outputs }).catch(error => error)
      if (result instanceof Error) {
        expect(failed, 'only one call fails').toBe(false)
        expect(result).toEqual(coded(code))
        failed = true
      } else {
        expect(result).toEqual(expected[i])
      }
    }
    await session.dispose()
    return !failed
  }

  it.each([true, false])(
    'of memory end in OUT_OF_MEMORY, and the next run is right (graphs: %s)',
    async cudaGraph => {
      let n = 1
      while (!(await survives('allocate', n, 'OUT_OF_MEMORY', { cudaGraph, batchSizes: [2] }))) n++
      expect(n).toBeGreaterThan(15) // weights, arena, staging: each has failed once
    },
  )

  it.each(['execute', 'launch'])('of %s end in INTERNAL, and the next run is right', async kind => {
    for (const cudaGraph of [true, false]) {
      let n = 1
      while (!(await survives(kind, n, 'INTERNAL', { cudaGraph, batchSizes: [2] }))) n++
      expect(n).toBeGreaterThan(5)
    }
  })

  it.each([1, 2, 5])('of cuDNN, which refuses plan %i, lead to the next candidate', async n => {
    await using cpu = await onCpu()
    const expected = await cpu.run(tinyBytes(2))
    for (const precision of ['fp32', 'fp16'] as const) {
      const options = { precision, batchSizes: [2], planCache: null }
      await using session = await onGpu(options, { faults: `plan:${n}` })
      const actual = await session.run(tinyBytes(2))
      expect(relativeError(actual.logits, expected.logits)).toBeLessThan(tolerances[precision])
    }
  })

  it.each(precisions)(
    'of cuDNN, which refuses every plan in %s, leave the work to our own kernel',
    async precision => {
      await using cpu = await onCpu()
      const expected = await cpu.run(tinyBytes(2), { outputs })
      for (const n of [1, 2]) {
        const options = { precision, batchSizes: [2], planCache: null }
        await using session = await onGpu(options, { faults: `plans:${n}` })
        const actual = await session.run(tinyBytes(2), { outputs })
        for (const name of outputs)
          expect(relativeError(actual[name], expected[name]), name).toBeLessThan(tolerances[precision])
      }
    },
  )

  it('of the device itself are final', async () => {
    for (let n = 1; n <= 40; n += 3) {
      const session = await onGpu({ batchSizes: [2] }, { faults: `lose:${n}` }).catch(error => {
        expect(error).toEqual(coded('DEVICE_LOST'))
        return null
      })
      if (!session) continue
      const results = []
      for (let i = 0; i < 12; i++) results.push(await session.run(tinyBytes(3)).catch(error => error))
      const first = results.findIndex(result => result instanceof Error)
      expect(first).toBeGreaterThanOrEqual(0)
      for (const result of results.slice(first)) expect(result).toEqual(coded('DEVICE_LOST'))
      await session.dispose()
    }
  })
})
