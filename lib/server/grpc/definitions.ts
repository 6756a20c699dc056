// The service definitions from `protocol/`, with typed contents handled outside their messages.
import { join } from 'node:path'
import { loadPackageDefinition, type ServiceDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { packageRoot } from '../../base/package-root.ts'
import { takeContents, writeResponse, writeStreamResponse } from './contents.ts'
import type { GrpcAnswer } from './format.ts'
import { messageBytes } from './limits.ts'
import type { StreamAnswer } from './stream.ts'

/** `grpc.health.v1.Health`. */
export const healthService = (): ServiceDefinition =>
  loadProtocol('health.proto').grpc.health.v1.Health.service

// biome-ignore lint/suspicious/noExplicitAny: packages nest as the file says
function loadProtocol(file: string): any {
  const definition = loadSync(join(packageRoot, 'protocol', file), {
    keepCase: true,
    longs: String, // numbers would round them
    enums: String,
    defaults: true,
    arrays: true,
    objects: true,
  })
  return loadPackageDefinition(definition)
}

/** `inference.GRPCInferenceService`. */
export function protocolService(): ServiceDefinition {
  const { service } = loadProtocol('open-inference.proto').inference.GRPCInferenceService
  const { requestDeserialize, responseSerialize, ...infer } = service.ModelInfer!
  const deserialize = (bytes: Buffer) => {
    const { rest, contents, refusal } = takeContents(bytes)
    const message = Object.assign(requestDeserialize(rest), { wire: contents, refusal })
    messageBytes.set(message, bytes.length)
    return message
  }
  const serialize = ({ response, wire }: GrpcAnswer) => writeResponse(response, wire, responseSerialize)
  const ModelInfer = { ...infer, requestDeserialize: deserialize, responseSerialize: serialize }
  const ModelStreamInfer = {
    ...service.ModelStreamInfer!,
    requestDeserialize: deserialize,
    responseSerialize: (answer: StreamAnswer) => writeStreamResponse(serialize(answer), answer.error),
  }
  return { ...service, ModelInfer, ModelStreamInfer }
}
