// Prometheus metrics: counters, gauges and histograms.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { ErrorCode } from '../../errors.ts'
import type { Timings } from '../protocol/request.ts'
import type { GaugeValue } from './gauge-value.ts'

export type Protocol = 'rest' | 'grpc' | 'classify'

const secondBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

export class Metrics {
  readonly #registry = new Registry()
  readonly #requests = this.#counter('requests_total', 'Answered requests.', ['protocol', 'model', 'code'])
  readonly #errors = this.#counter('errors_total', 'Error answers, by code.', ['code'])
  readonly #images = this.#counter('pictures_total', 'Classified images.', ['model'])
  readonly #batches = this.#histogram(
    'batch_size',
    'Images per batch.',
    ['model'],
    [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256],
  )
  readonly #stages = this.#histogram(
    'stage_seconds',
    'Request time by stage.',
    ['model', 'stage'],
    secondBuckets,
  )
  readonly #duration = this.#histogram(
    'request_seconds',
    'Time from a fully received request to its answer.',
    ['protocol', 'model'],
    secondBuckets,
  )

  constructor() {
    collectDefaultMetrics({ register: this.#registry })
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** In Prometheus' text format. */
  text(): Promise<string> {
    return this.#registry.metrics()
  }

  /** Adds a gauge that is read at every scrape: one value per set of labels. */
  gauge(
    name: string,
    help: string,
    labels: readonly string[],
    read: () => Promise<readonly GaugeValue[]>,
  ): void {
    new Gauge({
      name: `residual_${name}`,
      help,
      labelNames: labels,
      registers: [this.#registry],
      async collect() {
        this.reset()
        for (const { value, ...labels } of await read()) this.set(labels.labels, value)
      },
    })
  }

  batch(model: string, images: number): void {
    this.#batches.observe({ model }, images)
  }

  /**
   * Records an answered request. `model` is empty if it named no served model. `seconds` is the time since it was fully
   * received, absent if it was refused before that.
   */
  answered(protocol: Protocol, model: string, code: ErrorCode | 'OK', seconds?: number): void {
    this.#requests.inc({ protocol, model, code })
    if (seconds !== undefined) this.#duration.observe({ protocol, model }, seconds)
  }

  error(code: ErrorCode): void {
    this.#errors.inc({ code })
  }

  /** Records classified images and their timings. */
  classified(model: string, images: number, { decodeMs, queueMs, computeMs }: Timings): void {
    this.#images.inc({ model }, images)
    const stages = { decode: decodeMs, queue: queueMs, compute: computeMs }
    for (const [stage, ms] of Object.entries(stages)) this.#stages.observe({ model, stage }, ms / 1000)
  }

  #counter(name: string, help: string, labelNames: string[]): Counter {
    return new Counter({ name: `residual_${name}`, help, labelNames, registers: [this.#registry] })
  }

  #histogram(name: string, help: string, labelNames: string[], buckets: number[]): Histogram {
    return new Histogram({ name: `residual_${name}`, help, labelNames, buckets, registers: [this.#registry] })
  }
}
