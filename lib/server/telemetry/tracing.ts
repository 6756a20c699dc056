// OpenTelemetry traces: a span per request and per stage, if tracing is set up.
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Attributes,
  context,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import type { Timings } from '../protocol/request.ts'

const tracer = trace.getTracer('residual') // does nothing until a provider is registered

/** Runs `task` in a span, whose parent comes from the request's headers or metadata. The result of `task` holds the timings. */
export async function traced<T extends { readonly timings: Timings }>(
  name: string,
  carrier: object,
  attributes: Attributes,
  task: () => Promise<T>,
): Promise<T> {
  const parent = propagation.extract(context.active(), carrier)
  const span = tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent)
  try {
    const result = await task()
    if (span.isRecording()) stageSpans(span, result.timings)
    return result
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).message })
    throw error
  } finally {
    span.end()
  }
}

/** Adds a span per stage: they follow each other, and the last has just ended. */
function stageSpans(parent: Span, { decodeMs, queueMs, computeMs }: Timings): void {
  const within = trace.setSpan(context.active(), parent)
  let endTime = Date.now()
  for (const [name, ms] of [
    ['compute', computeMs],
    ['queue', queueMs],
    ['decode', decodeMs],
  ] as const) {
    tracer.startSpan(name, { startTime: endTime - ms }, within).end(endTime)
    endTime -= ms
  }
}

/**
 * Sends spans to `OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`), if set.
 *
 * @returns a function that flushes the last spans; undefined if tracing is off
 */
export async function startTracing(
  warn: (message: string) => void,
): Promise<(() => Promise<void>) | undefined> {
  const { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT } = process.env
  if (!(OTEL_EXPORTER_OTLP_ENDPOINT || OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)) return undefined
  try {
    const { BatchSpanProcessor, NodeTracerProvider } = await import('@opentelemetry/sdk-trace-node')
    const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-http')
    const provider = new NodeTracerProvider({
      spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
    })
    provider.register()
    return () => endTracing(() => provider.shutdown(), warn)
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw error
    warn(
      'An OpenTelemetry exporter is configured but not installed, so no spans are sent. Install it with ' +
        '`npm install @opentelemetry/sdk-trace-node @opentelemetry/exporter-trace-otlp-http`.',
    )
    return undefined
  }
}

const longestEndMs = 1000 // a collector near enough to be useful needs less

/** Flushes the last spans. Problems are passed to `warn` and neither delay nor fail the stop of the server. */
async function endTracing(shutdown: () => Promise<void>, warn: (message: string) => void): Promise<void> {
  const timeout = delay(longestEndMs, undefined, { ref: false }).then(() => {
    throw new Error(`The collector did not accept them within ${longestEndMs} ms.`)
  })
  try {
    await Promise.race([shutdown(), timeout])
  } catch (error) {
    warn(`The last spans could not be sent. ${(error as Error).message}`)
  }
}
