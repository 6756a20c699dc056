// gRPC calls about models and their repository, as defined by Triton's extensions and KServe.
import { modelConfig } from '../inference/model-config.ts'
import { loadAnew, modelStatistics, refuseRepository, refuseUnload, repositoryIndex } from '../repository.ts'
import type { Service } from '../service.ts'

export interface NamedModel {
  readonly name: string
  readonly version: string
}

interface IndexRequest {
  readonly repository_name: string
  readonly ready: boolean
}

interface LoadRequest {
  readonly repository_name: string
  readonly model_name: string
  readonly parameters: object
}

/** The handlers of these calls, by name. */
export function modelCalls(service: Service) {
  return {
    ModelConfig: ({ name, version }: NamedModel) =>
      service.find(name, version).use(async model => ({ config: modelConfig(model, name, service.options) })),
    ModelStatistics: async ({ name, version }: NamedModel) => modelStatistics(service, name, version),
    RepositoryIndex: async ({ ready, repository_name: name }: IndexRequest) => ({
      models: repositoryIndex(service, { ready, name }),
    }),
    RepositoryModelLoad: async ({ repository_name, model_name, parameters }: LoadRequest) => {
      const name = model_name || repository_name // KServe's field
      if (model_name) refuseRepository(repository_name)
      await loadAnew(service, name, parameters)
      return { model_name: name, isLoaded: true }
    },
    RepositoryModelUnload: async () => refuseUnload(),
  }
}
