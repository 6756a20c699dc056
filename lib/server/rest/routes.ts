// The REST paths of the Open Inference Protocol.

import { promisify } from 'node:util'
import { deflate, gzip } from 'node:zlib'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { infer, modelMetadata } from '../inference/infer.ts'
import { modelVersion } from '../models/served-model.ts'
import { invalid } from '../protocol/tensor-values.ts'
import { serverMetadata } from '../server-metadata.ts'
import type { Service } from '../service.ts'
import { tellTimings } from '../telemetry/timings.ts'
import { formatAnswer, parseRequest, type RestAnswer } from './format.ts'
import { type ModelRequest, modelPaths, modelRoutes } from './models.ts'

export const headerLengthName = 'Inference-Header-Content-Length'

export function restRoutes(app: FastifyInstance, service: Service): void {
  const metadata = serverMetadata()
  app.get('/v2', async () => metadata)
  app.get('/v2/health/live', async (_, reply) => {
    reply.code(service.live ? 200 : 503)
    return { live: service.live }
  })
  app.get('/v2/health/ready', async (_, reply) => answerReady(reply, service.ready, {}))
  for (const path of modelPaths) {
    app.get(path, async ({ params: { model, version } }: ModelRequest) =>
      service.find(model, version).use(async loaded => modelMetadata(loaded, model)),
    )
    app.get(`${path}/ready`, async ({ params: { model, version } }: ModelRequest, reply) => {
      const { ready } = service.find(model, version)
      return answerReady(reply, ready && !service.draining, { name: model })
    })
    app.post(`${path}/infer`, { config: { protocol: 'rest' } }, (request: ModelRequest, reply) =>
      answerInfer(service, request, reply),
    )
  }
  modelRoutes(app, service)
}

function answerReady(reply: FastifyReply, ready: boolean, model: object): object {
  reply.code(ready ? 200 : 503)
  return { ...model, ready }
}

async function answerInfer(service: Service, request: ModelRequest, reply: FastifyReply): Promise<unknown> {
  const { params, headers, client } = request
  const headerLength = headers[headerLengthName.toLowerCase()] as string | undefined
  const { limits } = service.options
  const { body } = request
  if (!(body instanceof Buffer)) throw invalid('The request has no body.')
  const call = { protocol: 'rest', ...params, client, carrier: headers } as const
  request.counted = true
  const result = await service.answer(
    call,
    signal => parseRequest(body, headerLength, limits, service.jsonParser, signal),
    async (model, asked, signal) => {
      const { decoder } = service
      const name = params.model
      const result = await infer(model, name, asked, {
        decoder,
        maxPictures: limits.picturesPerRequest,
        signal,
      })
      return { ...result, answer: await formatAnswer(asked, { name, version: modelVersion }, result.outputs) }
    },
  )
  tellTimings(request, reply, result)
  return send(reply, result.answer, headers['accept-encoding'])
}

const worthPacking = 1024 // bytes; less would hardly shrink

/** Sends an answer, compressed if the client accepts that and it is worth it. */
async function send(reply: FastifyReply, { json, binary }: RestAnswer, accepts = ''): Promise<Buffer> {
  const header = Buffer.from(json)
  reply.type(binary.length > 0 ? 'application/octet-stream' : 'application/json')
  if (binary.length > 0) reply.header(headerLengthName, header.length)
  const body = binary.length > 0 ? Buffer.concat([header, ...binary]) : header
  const encoding = (['gzip', 'deflate'] as const).find(name =>
    new RegExp(`\\b${name}\\b(?!\\s*;\\s*q=0(?:\\.0*)?(?:[,\\s]|$))`).test(accepts),
  )
  reply.header('Vary', 'Accept-Encoding')
  if (!encoding || body.length < worthPacking) return body
  reply.header('Content-Encoding', encoding)
  return packers[encoding](body, { level: 1 })
}

const packers = { gzip: promisify(gzip), deflate: promisify(deflate) } as const
