import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ResidualError } from '../../lib/errors.ts'
import { Batcher } from '../../lib/runtime/batching/batcher.ts'
import { loadNative } from '../../lib/runtime/native.ts'
import { deviceMemoryReader } from '../../lib/server/telemetry/device-memory.ts'
import { temporaryFolder } from '../support/files.ts'
import { ask, inferUrl, modelName, post, sampleImage, startServer } from '../support/server.ts'

afterEach(() => {
  vi.unstubAllEnvs()
})

describe('metrics', () => {
  it('count requests, errors, images, batches and the time of each stage', async () => {
    const server = await startServer({ threads: 1, maxWaitMs: 50 })
    const form = new FormData()
    for (const name of ['ship', 'frog']) form.append('p', new Blob([sampleImage(name)]), name)
    expect((await post(`${server.url}/classify`, form)).status).toBe(200)
    form.append('p', new Blob(['no image']), 'none') // an error of its own in an answer that is none
    expect((await post(`${server.url}/classify`, form)).status).toBe(200)
    await post(`${server.url}/classify`, 'no image')
    await post(`${server.url}/classify?model=other`, sampleImage('ship'))
    await ask(`${server.url}/nothing`)
    const { json, headers } = await ask(`${server.url}/metrics`)
    expect(headers.get('Content-Type')).toMatch(/^text\/plain; version=/)
    const lines = (json as string).split('\n')
    const model = `model="${modelName}"`
    for (const line of [
      `residual_requests_total{protocol="classify",${model},code="OK"} 2`,
      `residual_requests_total{protocol="classify",${model},code="DECODE_FAILED"} 1`,
      'residual_requests_total{protocol="classify",model="",code="MODEL_NOT_SERVED"} 1',
      'residual_errors_total{code="DECODE_FAILED"} 2',
      'residual_errors_total{code="PATH_NOT_FOUND"} 1',
      `residual_pictures_total{${model}} 4`,
      `residual_queue_pictures{${model}} 0`,
      'residual_decode_queue_pictures 0',
      `residual_model_info{${model},device="CPU (${loadNative().capabilities()[0]})",precision="fp32"} 1`,
      `residual_batch_size_sum{${model}} 4`,
      ...['decode', 'queue', 'compute'].map(
        stage => `residual_stage_seconds_count{${model},stage="${stage}"} 2`,
      ),
      `residual_request_seconds_count{protocol="classify",${model}} 3`,
    ])
      expect(lines).toContain(line)
    for (const name of ['process_resident_memory_bytes', 'nodejs_eventloop_lag_p99_seconds'])
      expect(lines.some(line => line.startsWith(`${name} `))).toBe(true)
    await server.stop()
  })

  it('count requests that fail before they reach a model: in their bodies, forms and parameters', async () => {
    const server = await startServer({ threads: 1, limits: { bodyBytes: 1000, heldBytes: 1000 } })
    const infer = (body: string, headers = {}) => post(inferUrl(server), body, headers)
    await infer('x'.repeat(2000))
    await infer('{"inputs":')
    await infer('{}', { 'Content-Encoding': 'br' })
    await infer('{}', { 'Content-Encoding': 'gzip' })
    await post(inferUrl(server, 'other'), '{}')
    await post(`${server.url}/classify?topK=none`, 'x')
    await post(`${server.url}/classify`, new FormData())
    const { json } = await ask(`${server.url}/metrics`)
    const counted = (json as string).split('\n').filter(line => line.startsWith('residual_requests_total{'))
    const model = `model="${modelName}"`
    expect(counted.sort()).toEqual(
      [
        `{protocol="rest",${model},code="REQUEST_TOO_LARGE"} 1`,
        `{protocol="rest",${model},code="REQUEST_INVALID"} 2`,
        `{protocol="rest",${model},code="ENCODING_UNSUPPORTED"} 1`,
        '{protocol="rest",model="",code="MODEL_NOT_SERVED"} 1',
        '{protocol="classify",model="",code="REQUEST_INVALID"} 2',
      ]
        .map(line => `residual_requests_total${line}`)
        .sort(),
    )
    // Their time is that of whole requests.
    expect(json).toContain(`residual_request_seconds_count{protocol="rest",${model}} 1\n`)
    await server.stop()
  })

  it('and probes report a lost GPU, which a process cannot recover', async () => {
    const server = await startServer({ threads: 1, grpcPort: 0 })
    const lost = new ResidualError('DEVICE_LOST', 'An illegal address.')
    vi.spyOn(Batcher.prototype, 'run').mockRejectedValue(lost)
    const { status } = await post(`${server.url}/classify`, sampleImage('ship'))
    vi.restoreAllMocks()
    expect(status).toBe(500)
    const [live, ready] = await Promise.all(
      ['live', 'ready'].map(probe => ask(`${server.url}/v2/health/${probe}`)),
    )
    expect([live!.status, live!.json]).toEqual([503, { live: false }])
    expect([ready!.status, ready!.json]).toEqual([503, { ready: false }])
    await server.stop()
  })

  it('report the memory of every GPU the driver lists, and nothing without a driver', async () => {
    const folder = temporaryFolder()
    const tool = join(folder, 'nvidia-smi')
    writeFileSync(tool, '#!/bin/sh\necho "0, NVIDIA L4, 512"\necho "1, NVIDIA L4, 0"\n')
    chmodSync(tool, 0o755)
    vi.stubEnv('PATH', `${folder}:${process.env.PATH}`)
    expect(await deviceMemoryReader()()).toEqual([
      { labels: { index: '0', name: 'NVIDIA L4' }, value: 512 * 2 ** 20 },
      { labels: { index: '1', name: 'NVIDIA L4' }, value: 0 },
    ])
    vi.stubEnv('PATH', join(folder, 'nowhere'))
    expect(await deviceMemoryReader()()).toEqual([])
  })

  it('start the driver’s tool once, however many clients ask at a time', async () => {
    const folder = temporaryFolder()
    const [tool, starts] = [join(folder, 'nvidia-smi'), join(folder, 'starts')]
    writeFileSync(tool, `#!/bin/sh\necho started >>'${starts}'\necho "0, NVIDIA L4, 512"\n`)
    chmodSync(tool, 0o755)
    vi.stubEnv('PATH', `${folder}:${process.env.PATH}`)
    const read = deviceMemoryReader()
    const values = [...(await Promise.all([read(), read()])), await read()]
    for (const value of values) expect(value[0]!.value).toBe(512 * 2 ** 20)
    expect(readFileSync(starts, 'utf8')).toBe('started\n')
  })
})
