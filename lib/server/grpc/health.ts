// gRPC health checks, as Kubernetes' probes and load balancers use them.
import type { handleServerStreamingCall } from '@grpc/grpc-js'
import { ResidualError } from '../../errors.ts'
import type { Service } from '../service.ts'

interface HealthCheckRequest {
  /** Empty for the server itself. */
  readonly service: string
}

interface HealthCheckResponse {
  readonly status: 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN'
}

const services = ['', 'inference.GRPCInferenceService', 'grpc.health.v1.Health']

const lookMs = 500 // between two checks of the server's readiness

/** @throws ResidualError PATH_NOT_FOUND for unknown services */
export async function checkHealth(
  { ready }: Service,
  { service }: HealthCheckRequest,
): Promise<HealthCheckResponse> {
  if (!services.includes(service))
    throw new ResidualError('PATH_NOT_FOUND', `Unknown service '${service}'; the server has ${services[1]}.`)
  return { status: ready ? 'SERVING' : 'NOT_SERVING' }
}

/** Sends a service's status, and every change of it, until the client disconnects or the server stops. */
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
      call.end() // a server can stop only once its calls have ended
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
