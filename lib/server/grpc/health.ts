// gRPC health checks, as Kubernetes' probes and load balancers use them.
import type { handleServerStreamingCall } from '@grpc/grpc-js'
import { ResidualError } from '../../errors.ts'
import type { Service } from '../service.ts'

interface HealthCheckRequest {
  /** The server where it is empty. */
  readonly service: string
}

interface HealthCheckResponse {
  readonly status: 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN'
}

const services = ['', 'inference.GRPCInferenceService', 'grpc.health.v1.Health']

const lookMs = 500 // between two looks at whether the server is ready

/** @throws ResidualError PATH_NOT_FOUND for services that there are not */
export async function checkHealth(
  { ready }: Service,
  { service }: HealthCheckRequest,
): Promise<HealthCheckResponse> {
  if (!services.includes(service))
    throw new ResidualError('PATH_NOT_FOUND', `There is no service '${service}'; there is ${services[1]}.`)
  return { status: ready ? 'SERVING' : 'NOT_SERVING' }
}

/** Tells how a service is, and whenever that changes, until the client goes away or the server stops. */
export function healthWatcher(
  server: Service,
): handleServerStreamingCall<HealthCheckRequest, HealthCheckResponse> {
  return call => {
    const known = services.includes(call.request.service)
    let told: HealthCheckResponse['status'] | undefined
    const look = () => {
      const status = !known ? 'SERVICE_UNKNOWN' : server.ready ? 'SERVING' : 'NOT_SERVING'
      if (status !== told) call.write({ status })
      told = status
    }
    const timer = setInterval(look, lookMs)
    const stop = () => {
      look()
      call.end() // a server stops once its calls have ended
    }
    const end = () => {
      clearInterval(timer)
      server.stopping.removeEventListener('abort', stop)
    }
    call.on('cancelled', end).on('finish', end)
    look()
    if (server.draining) call.end()
    else server.stopping.addEventListener('abort', stop)
  }
}
