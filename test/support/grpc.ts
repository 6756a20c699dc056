// A gRPC client for tests: calls by name, messages as plain objects.
import { join } from 'node:path'
import { type Client, credentials, loadPackageDefinition, type ServiceError } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { packageRoot } from '../../lib/base/package-root.ts'
import type { RunningServer } from '../../lib/server/index.ts'

// biome-ignore lint/suspicious/noExplicitAny: messages are what the proto says
type Message = any

export interface GrpcClient {
  /** Rejects with grpc-js' `ServiceError`. */
  call(method: string, request?: object): Promise<Message>
  /** Of a method that answers with a stream, to one request or to a stream of them. */
  stream(method: string, ...request: readonly object[]): Message
  close(): void
}

/** A client of one service of `file` in `protocol/`, such as `inference.GRPCInferenceService`. */
export function grpcClient(server: RunningServer, file: string, service: string): GrpcClient {
  const options = { keepCase: true, longs: Number, enums: String, defaults: true, arrays: true }
  const packages: Message = loadPackageDefinition(loadSync(join(packageRoot, 'protocol', file), options))
  const Service = service.split('.').reduce((inner, name) => inner[name], packages)
  const client = new Service(`127.0.0.1:${server.grpcPort}`, credentials.createInsecure()) as Client & {
    readonly [method: string]: Message
  }
  return {
    call: (method, request = {}) =>
      new Promise((resolve, reject) => {
        client[method](request, (error: ServiceError | null, response: Message) =>
          error ? reject(error) : resolve(response),
        )
      }),
    stream: (method, ...request) => client[method](...request),
    close: () => client.close(),
  }
}
