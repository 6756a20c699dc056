// Triton's model repository extensions, the same for REST and gRPC: index, statistics, reloading.
import { ResidualError } from '../errors.ts'
import { modelVersion } from './models/served-model.ts'
import { invalid } from './protocol/tensor-values.ts'
import type { Service } from './service.ts'

/**
 * The models, or only those that are ready.
 *
 * @throws ResidualError REQUEST_INVALID for the name of a repository
 */
export function repositoryIndex(service: Service, only: { readonly ready: boolean; readonly name: string }) {
  refuseRepository(only.name)
  return [...service.models.values()]
    .filter(({ ready }) => ready || !only.ready)
    .map(({ name, ready }) => ({
      name,
      version: modelVersion,
      state: ready ? 'READY' : 'UNAVAILABLE',
      reason: '',
    }))
}

/**
 * The statistics of one model, or of all if no name is given.
 *
 * @throws ResidualError MODEL_NOT_SERVED
 */
export function modelStatistics(service: Service, name?: string, version?: string) {
  const models = name ? [service.find(name, version)] : [...service.models.values()]
  return {
    model_stats: models.map(({ name, statistics }) => ({ name, version: modelVersion, ...statistics.value })),
  }
}

/**
 * Reloads a model from its file.
 *
 * @throws ResidualError PATH_NOT_FOUND if clients may not, REQUEST_INVALID for parameters, MODEL_NOT_SERVED, MODEL_LOAD_FAILED
 */
export async function loadAnew(service: Service, name: string, parameters: object): Promise<void> {
  if (!service.options.repository) {
    const message = 'Clients may not reload models. Start the server with --repository to allow it.'
    throw new ResidualError('PATH_NOT_FOUND', message)
  }
  const [parameter] = Object.keys(parameters)
  if (parameter !== undefined)
    throw invalid(
      `The parameter '${parameter}' is not supported: a model is loaded from its own file, as it was configured.`,
    )
  const model = service.find(name)
  try {
    await model.load()
  } catch (cause) {
    if (!(cause instanceof ResidualError)) throw cause
    const message = `The model ${model.name} could not be reloaded and stays as it was: ${cause.message}`
    throw new ResidualError('MODEL_LOAD_FAILED', message, { cause })
  }
}

/**
 * Triton has several repositories, which have names; here there is one.
 *
 * @throws ResidualError REQUEST_INVALID for any name
 */
export function refuseRepository(name: string): void {
  if (name !== '') throw invalid(`Unknown repository '${name}': the server's only repository has no name.`)
}

/** @throws ResidualError PATH_NOT_FOUND */
export function refuseUnload(): never {
  throw new ResidualError(
    'PATH_NOT_FOUND',
    'Models cannot be unloaded: they are served until the server stops.',
  )
}
