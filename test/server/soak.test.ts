import { expect, it } from 'vitest'
import { load } from '../../lib/index.ts'
import { ask, modelName, startServer } from '../support/server.ts'
import { soak } from '../support/soak.ts'

it('answers mixed requests from 64 connections as a lone run would, to the bit, whatever is batched together', async () => {
  const server = await startServer({ threads: 2 })
  await using classifier = await load(modelName, { device: 'cpu', threads: 1 })
  const result = await soak(server.url, classifier, { requests: 300, connections: 64 })
  expect(result.wrong).toEqual([])
  expect(result.answered).toBe(300)
  expect(Object.keys(result.kinds)).toHaveLength(7)
  const metrics = (await ask(`${server.url}/metrics`)).json as string
  const total = (name: string) => Number(new RegExp(`^${name}\\{[^}]*\\} (\\d+)$`, 'm').exec(metrics)?.[1])
  expect(total('residual_pictures_total')).toBe(result.images)
  expect(total('residual_batch_size_sum')).toBe(result.images)
  expect(total('residual_batch_size_count')).toBeLessThan(result.images / 2) // they were batched together
  await server.stop()
})
