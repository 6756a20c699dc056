// The calls of gRPC about models and their repository, as Triton's extensions and KServe have them.
import { modelConfig } from './model-config.ts'
import { loadAnew, modelStatistics, refuseUnload, repositoryIndex } from './repository.ts'
import type { Service } from './service.ts'

export interface NamedModel {
  readonly name: string
  readonly version: string
}

interface IndexRequest {
  readonly ready: boolean
}

interface LoadRequest {
  readonly repository_name: string
  readonly model_name: string
  readonly parameters: object
}

/** What answers each of these calls, by its name. */
export function modelCalls(service: Service) {
  return {
    ModelConfig: ({ name, version }: NamedModel) =>
      service.find(name, version).use(async model => ({ config: modelConfig(model, name, service.options) })),
    ModelStatistics: async ({ name, version }: NamedModel) => modelStatistics(service, name, version),
    RepositoryIndex: async (only: IndexRequest) => ({ models: repositoryIndex(service, only) }),
    RepositoryModelLoad: async ({ repository_name, model_name, parameters }: LoadRequest) => {
      const name = model_name || repository_name // where KServe has it
      await loadAnew(service, name, parameters)
      return { model_name: name, isLoaded: true }
    },
    RepositoryModelUnload: async () => refuseUnload(),
  }
}
