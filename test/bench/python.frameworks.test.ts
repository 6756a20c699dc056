// The Python engines compute what residual computes.
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findPythonEngines, pythonEngineNames } from '../../bench/python.ts'
import { batchOf, generateSamples, imagesFor } from '../../lib/benchmark/samples.ts'
import { makeSubject } from '../../lib/benchmark/subject.ts'
import { createSession, lower, type Network, resnet } from '../../lib/index.ts'
import { temporaryFolder } from '../support/files.ts'
import { goldenWeights, relativeError } from '../support/golden.ts'
import { python } from '../support/python.ts'
import { rangesFor } from '../support/quantized.ts'

const folder = temporaryFolder()
const { engines, report } = await findPythonEngines(python)

/** Of every kind of layer there is. */
const networks: readonly [string, Network][] = [
  ['bottlenecks', resnet({ layers: 50, width: 0.25, classes: 5 })],
  ['basic blocks', resnet({ layers: 18, width: 0.25, classes: 5 })],
  ['ResNet-D', resnet({ layers: 18, width: 0.25, classes: 5, deepStem: [8, 8], averagedShortcut: true })],
  ['groups', resnet({ layers: 50, width: 0.25, classes: 5, groups: 4, widthPerGroup: 16 })],
]

/** Within which engines are still taken for working. */
const mostError = { fp32: 1e-4, bf16: 5e-2, int8: 0.5 } as const

describe('Python engines', () => {
  it('are all found', () => {
    expect(
      engines.map(({ name }) => name),
      report.join('\n'),
    ).toEqual([...pythonEngineNames])
  })

  it.each(
    engines.flatMap(engine =>
      engine.precisions.flatMap(precision =>
        // One network is enough for the other precisions, whose arithmetic is the engine's own.
        (precision === 'fp32' ? networks : networks.slice(0, 1)).map(([name, network]) => ({
          engine,
          precision,
          name,
          network,
        })),
      ),
    ),
  )(
    'compute in $engine.name $engine.version, $precision, what residual computes: $name',
    async ({ engine, precision, network }) => {
      const plan = lower(network, { height: 64, width: 64, mean: [0, 0, 0], std: [1, 1, 1] })
      const weights = goldenWeights(network)
      await using session = await createSession(plan, weights, { device: 'cpu' })
      // residual's own checkpoint is of a format that no engine reads
      const path = join(folder, 'checkpoint.pdparams')
      const subject = await makeSubject('subject', { network, plan, weights, path }, folder, {
        quantize: async () => ({
          plan,
          weights: {
            ...weights,
            quantization: await rangesFor(plan, weights, generateSamples(plan, 2).bytes),
          },
          path,
        }),
      })
      const peer = await engine.open(subject, { threads: 1, precision })
      try {
        for (const batch of [1, 3]) {
          const images = imagesFor(plan, batch)
          const { logits } = await session.run(images.data)
          expect(relativeError(await peer.prepare(images), logits)).toBeLessThan(mostError[precision])
          expect(await peer.run()).toBeGreaterThan(0)
          const others = batchOf(plan, generateSamples(plan, batch, /*seed=*/ 5), 0, batch)
          const { logits: ofOthers } = await session.run(others.data)
          expect(relativeError(await peer.logits(others), ofOthers)).toBeLessThan(mostError[precision])
        }
      } finally {
        await peer.close()
      }
    },
  )
})
