import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RunningServer } from '../../lib/server/index.ts'
import { ask, modelName, startServer } from '../support/server.ts'

let server: RunningServer
beforeAll(async () => {
  server = await startServer({ threads: 1, maxBatch: 1 })
})
afterAll(() => server.stop())

describe('HTTP', () => {
  it('errors are of the type application/json, which some clients compare as a whole', async () => {
    for (const path of ['/v2/models/other', '/nothing'])
      expect((await ask(server.url + path)).headers.get('Content-Type')).toBe('application/json')
  })

  it.each([
    ['GET', `/v2/models/${modelName}/infer`, 'OPTIONS, POST'],
    ['POST', `/v2/models/${modelName}`, 'GET, HEAD, OPTIONS'],
    ['DELETE', '/v2/health/ready', 'GET, HEAD, OPTIONS'],
    ['PUT', '/classify', 'OPTIONS, POST'],
    ['PATCH', '/', 'GET, HEAD, OPTIONS'],
    ['GET', '/v2/repository/index', 'OPTIONS, POST'],
  ])('%s %s is refused with the allowed methods, which OPTIONS lists', async (method, path, allow) => {
    const body = ['GET', 'HEAD'].includes(method) ? {} : { body: '{}' }
    const { status, headers, json } = await ask(server.url + path, { method, ...body })
    expect([status, headers.get('Allow'), headers.get('Residual-Error')]).toEqual([
      405,
      allow,
      'METHOD_NOT_ALLOWED',
    ])
    expect(json.error).toBe(`${path} does not support ${method}, only ${allow}. [METHOD_NOT_ALLOWED]`)
    const options = await ask(server.url + path, { method: 'OPTIONS' })
    expect([options.status, options.headers.get('Allow')]).toEqual([204, allow])
  })

  it('HEAD answers like GET, without a body', async () => {
    expect(await ask(`${server.url}/v2/health/ready`, { method: 'HEAD' })).toMatchObject({
      status: 200,
      json: '',
    })
    expect((await ask(`${server.url}/v2/nothing`, { method: 'OPTIONS' })).status).toBe(404)
  })
})
