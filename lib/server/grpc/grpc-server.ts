// The gRPC server: the Open Inference Protocol's service and health checks, on a port of their own.
import { type EventEmitter, setMaxListeners } from 'node:events'
import type { AddressInfo } from 'node:net'
import {
  type handleUnaryCall,
  type Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
} from '@grpc/grpc-js'
import { ResidualError } from '../../errors.ts'
import { infer, modelMetadata } from '../inference/infer.ts'
import { modelVersion } from '../models/served-model.ts'
import { serverMetadata } from '../server-metadata.ts'
import type { Service } from '../service.ts'
import { healthService, protocolService } from './definitions.ts'
import { formatMessage, type GrpcAnswer, type ModelInferRequest, parseMessage } from './format.ts'
import { checkHealth, healthWatcher } from './health.ts'
import { connectionListener, connectionOptions, type Log, limitCalls, messageFacts } from './limits.ts'
import { modelCalls, type NamedModel } from './models.ts'
import { statusOf } from './status.ts'
import { answerStream, type StreamAnswer } from './stream.ts'
import { limitStreams } from './stream-limits.ts'

const maxStreams = 256 // per connection at a time

export interface GrpcServer {
  readonly port: number
  /** Resolves once all calls in progress have ended. */
  stop(): Promise<void>
  /** Ends the calls in progress. */
  cut(): void
}

/** Serves `service` on `host` and `port`. `log` records every call, and the errors whose details clients are not told. */
export async function startGrpc(
  service: Service,
  { host, port }: { host: string; port: number },
  log: Log,
): Promise<GrpcServer> {
  const toStatus = (error: unknown) => statusOf(service, error, log)
  const onCalls = limitCalls(service, toStatus, log)
  const onStreams = limitStreams(service, toStatus, log)
  const server = new Server({
    ...connectionOptions,
    interceptors: [(method, call) => (method.requestStream ? onStreams : onCalls)(method, call)],
    'grpc.max_receive_message_length': service.options.limits.bodyBytes,
    'grpc.max_concurrent_streams': maxStreams,
  })
  const unary =
    <Request, Response>(
      answer: (call: ServerUnaryCall<Request, Response>) => Promise<Response>,
    ): handleUnaryCall<Request, Response> =>
    async (call, callback) => {
      try {
        callback(null, await answer(call))
      } catch (error) {
        callback(toStatus(error))
      }
    }
  server.addService(healthService(), {
    Check: unary<{ service: string }, object>(({ request }) => checkHealth(service, request)),
    Watch: healthWatcher(service),
  })
  const aboutModels = Object.entries(modelCalls(service)).map(
    ([name, answer]) => [name, unary(({ request }) => answer(request as never))] as const,
  )
  server.addService(protocolService(), {
    ...Object.fromEntries(aboutModels),
    ServerLive: unary(async () => ({ live: service.live })),
    ServerReady: unary(async () => ({ ready: service.ready })),
    ServerMetadata: unary(async () => serverMetadata()),
    ModelReady: unary<NamedModel, object>(async ({ request: { name, version } }) => ({
      ready: service.find(name, version).ready && !service.draining,
    })),
    ModelMetadata: unary<NamedModel, object>(({ request: { name, version } }) =>
      service.find(name, version).use(async model => modelMetadata(model, name)),
    ),
    ModelInfer: unary<ModelInferRequest, GrpcAnswer>(call =>
      answerInfer(service, call.request, call.metadata, clientOf(call)),
    ),
    ModelStreamInfer: (call: ServerDuplexStream<ModelInferRequest, StreamAnswer>) => {
      const client = clientOf(call)
      const answer = (request: ModelInferRequest) => answerInfer(service, request, call.metadata, client)
      answerStream(service, call, answer, toStatus)
    },
  })
  const listener = connectionListener(
    service,
    server.createConnectionInjector(ServerCredentials.createInsecure()),
  )
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject).listen(port, host, resolve)
  })
  return {
    port: (listener.address() as AddressInfo).port,
    stop: () => {
      listener.close()
      return new Promise(resolve => server.tryShutdown(() => resolve()))
    },
    cut: () => server.forceShutdown(),
  }
}

/** Aborted when the client of a call disconnects. */
function clientOf(call: EventEmitter): AbortSignal {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal) // one for each request of a stream
  call.on('cancelled', () =>
    controller.abort(new ResidualError('REQUEST_ABORTED', 'The client disconnected before it was answered.')),
  )
  return controller.signal
}

async function answerInfer(
  service: Service,
  request: ModelInferRequest,
  metadata: Metadata,
  client: AbortSignal,
): Promise<GrpcAnswer> {
  const result = await service.answer(
    {
      protocol: 'grpc',
      model: request.model_name,
      version: request.model_version,
      client,
      carrier: metadata.getMap(),
    },
    signal => parseMessage(request, signal),
    (model, asked, signal) =>
      infer(model, request.model_name, asked, {
        decoder: service.decoder,
        maxPictures: service.options.limits.picturesPerRequest,
        signal,
      }),
  )
  messageFacts.set(request, { images: result.images, ...result.timings })
  const model = { name: request.model_name, version: modelVersion }
  return formatMessage(request, model, result.outputs)
}
