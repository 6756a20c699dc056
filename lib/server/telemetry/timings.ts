// Request timings, reported to the client and to the log.
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Timings } from '../protocol/request.ts'

/** Adds the timings to the log and to a header that browsers show. */
export function tellTimings(
  request: FastifyRequest,
  reply: FastifyReply,
  { images, timings }: { readonly images: number; readonly timings: Timings },
): void {
  const { decodeMs, queueMs, computeMs } = timings
  const stages = Object.entries({ decode: decodeMs, queue: queueMs, compute: computeMs })
  reply.header('Server-Timing', stages.map(([name, ms]) => `${name};dur=${ms.toFixed(2)}`).join(', '))
  request.facts = { ...request.facts, images, ...timings }
}
