// The Python engines compute what residual computes.
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findPythonEngines, pythonEngineNames } from '../../bench/python.ts'
import { imagesFor, makeSubject } from '../../lib/benchmark/subject.ts'
import { createSession, lower, type Network, resnet } from '../../lib/index.ts'
import { temporaryFolder } from '../support/files.ts'
import { goldenWeights, relativeError } from '../support/golden.ts'
import { python } from '../support/python.ts'

const folder = temporaryFolder()
const { engines, report } = await findPythonEngines(python)

/** Of every kind of layer there is. */
const networks: readonly [string, Network][] = [
  ['bottlenecks', resnet({ layers: 50, width: 0.25, classes: 5 })],
  ['basic blocks', resnet({ layers: 18, width: 0.25, classes: 5 })],
  ['ResNet-D', resnet({ layers: 18, width: 0.25, classes: 5, deepStem: [8, 8], averagedShortcut: true })],
  ['groups', resnet({ layers: 50, width: 0.25, classes: 5, groups: 4, widthPerGroup: 16 })],
]

describe('Python engines', () => {
  it('are all found', () => {
    expect(
      engines.map(({ name }) => name),
      report.join('\n'),
    ).toEqual([...pythonEngineNames])
  })

  it.each(engines.flatMap(engine => networks.map(([name, network]) => ({ engine, name, network }))))(
    'compute in $engine.name $engine.version what residual computes: $name',
    async ({ engine, network }) => {
      const plan = lower(network, { height: 64, width: 64, mean: [0, 0, 0], std: [1, 1, 1] })
      const weights = goldenWeights(network)
      await using session = await createSession(plan, weights, { device: 'cpu' })
      // residual's own checkpoint is of a format that no engine reads
      const path = join(folder, 'checkpoint.pdparams')
      const peer = await engine.open(
        await makeSubject('subject', { network, plan, weights, path }, folder),
        1,
      )
      try {
        for (const batch of [1, 3]) {
          const images = imagesFor(plan, batch)
          const { logits } = await session.run(images.data)
          expect(relativeError(await peer.prepare(images), logits)).toBeLessThan(1e-4)
          expect(await peer.run()).toBeGreaterThan(0)
        }
      } finally {
        await peer.close()
      }
    },
  )
})
