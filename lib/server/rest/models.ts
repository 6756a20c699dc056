// REST paths about models and their repository: KServe's list, and Triton's extensions.
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { modelConfig } from '../inference/model-config.ts'
import { parseObject } from '../json/json.ts'
import { invalid } from '../protocol/tensor-values.ts'
import { loadAnew, modelStatistics, refuseUnload, repositoryIndex } from '../repository.ts'
import type { Service } from '../service.ts'

export interface ModelPath {
  readonly model: string
  readonly version?: string
}

export type ModelRequest = FastifyRequest<{ Params: ModelPath }>

/** The path prefixes of a model. */
export const modelPaths = ['/v2/models/:model', '/v2/models/:model/versions/:version'] as const

export function modelRoutes(app: FastifyInstance, service: Service): void {
  app.get('/v2/models', async () => ({ models: [...service.models.keys()] }))
  app.get('/v2/models/stats', async () => modelStatistics(service))
  for (const path of modelPaths) {
    app.get(`${path}/config`, async ({ params: { model, version } }: ModelRequest) =>
      service.find(model, version).use(async loaded => modelConfig(loaded, model, service.options)),
    )
    app.get(`${path}/stats`, async ({ params: { model, version } }: ModelRequest) =>
      modelStatistics(service, model, version),
    )
  }
  app.post('/v2/repository/index', async ({ body }) => {
    const { ready = false, repository_name: name = '', ...others } = parseBody(body)
    if (typeof ready !== 'boolean') throw invalid("'ready' must be true or false.")
    if (typeof name !== 'string') throw invalid("'repository_name' must be a string.")
    const [unknown] = Object.keys(others)
    if (unknown !== undefined) throw invalid(`Unknown member '${unknown}'; known is 'ready'.`)
    return repositoryIndex(service, { ready, name })
  })
  app.post('/v2/repository/models/:model/load', async ({ params: { model }, body }: ModelRequest) => {
    const { parameters = {}, ...others } = parseBody(body)
    if (typeof parameters !== 'object' || parameters === null || Array.isArray(parameters))
      throw invalid("'parameters' must be an object.")
    await loadAnew(service, model, { ...parameters, ...others })
    return {}
  })
  app.post('/v2/repository/models/:model/unload', async () => refuseUnload())
}

/** The JSON object in an optional body. */
function parseBody(body: unknown): { readonly [key: string]: unknown } {
  return body instanceof Buffer && body.length > 0 ? parseObject(body.toString()) : {}
}
