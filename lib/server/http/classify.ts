// `POST /classify`: an image as the body, or several as a form; predictions as JSON.
import { setMaxListeners } from 'node:events'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { defaultTopK, type Prediction } from '../../classifier.ts'
import { type ErrorCode, ResidualError } from '../../errors.ts'
import type { View } from '../../image/preprocess.ts'
import type { OutputName } from '../../model/plan.ts'
import type { LoadedModel } from '../models/served-model.ts'
import { errorAnswer } from '../protocol/answers.ts'
import type { Timings } from '../protocol/request.ts'
import { invalid } from '../protocol/tensor-values.ts'
import type { Service } from '../service.ts'
import { tellTimings } from '../telemetry/timings.ts'

/** The result for one image. */
interface Found {
  readonly predictions: readonly Prediction[]
  /** The class activation map of the first class, and the part of the image it covers, if requested. */
  readonly map?: { readonly height: number; readonly width: number; readonly values: readonly number[] }
  readonly view?: View
  readonly timings: Timings
}

/** The result for one image, or its error. */
type Outcome = { readonly found: Found } | { readonly error: unknown }

interface Options {
  readonly model: string | undefined
  readonly topK: number
  readonly map: boolean
  readonly timeoutMs: number | undefined
}

interface Upload {
  readonly name?: string
  readonly bytes: Uint8Array
}

export function classifyRoute(app: FastifyInstance, service: Service): void {
  app.post('/classify', { config: { protocol: 'classify' } }, async (request, reply) => {
    const options = parseQuery(request.query as { [key: string]: unknown })
    const { client, headers } = request
    const uploads = await readUploads(request, service.options.limits.picturesPerRequest)
    const call = { protocol: 'classify', model: options.model, client, carrier: headers } as const
    request.counted = true
    const done = await service.answer(
      call,
      async () => options,
      async (model, options, signal) => {
        const outcomes = await classifyEach(service, model, uploads, options, signal)
        const timings = outcomes.flatMap(outcome => ('found' in outcome ? [outcome.found.timings] : []))
        // An image's error stays its own, unless every image failed.
        const [first] = outcomes
        if (timings.length === 0 && first && 'error' in first) throw first.error
        const { name, activation } = model.classifier
        return { name, activation, outcomes, images: timings.length, timings: longest(timings) }
      },
    )
    tellTimings(request, reply, done)
    const results = done.outcomes.map((outcome, i) => {
      const { name } = uploads[i]!
      if ('found' in outcome) return { ...(name !== undefined && { name }), ...outcome.found }
      const { code, error } = errorAnswer(outcome.error)
      service.metrics.error(code)
      return { ...(name !== undefined && { name }), error }
    })
    return { model: done.name, activation: done.activation, results }
  })
}

function parseQuery(query: { [key: string]: unknown }): Options {
  const { model, topK, map, timeoutMs, ...unknown } = query
  const [stranger] = Object.keys(unknown)
  if (stranger !== undefined)
    throw invalid(`Unknown parameter '${stranger}'; known are model, topK, map and timeoutMs.`)
  if (model !== undefined && typeof model !== 'string')
    throw invalid("The parameter 'model' must be given once.")
  if (!(map === undefined || map === 'true' || map === 'false'))
    throw invalid("The parameter 'map' must be true or false.")
  return {
    model,
    topK: parsePositive('topK', topK) ?? defaultTopK,
    map: map === 'true',
    timeoutMs: parsePositive('timeoutMs', timeoutMs),
  }
}

function parsePositive(name: string, text: unknown): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (typeof text !== 'string' || !/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < 1)
    throw invalid(`The parameter '${name}' must be a whole number above 0.`)
  return value
}

/** @throws ResidualError REQUEST_INVALID, REQUEST_TOO_LARGE, SERVER_BUSY, REQUEST_ABORTED */
async function readUploads(request: FastifyRequest, maxPictures: number): Promise<Upload[]> {
  if (!request.isMultipart()) {
    if (!(request.body instanceof Buffer && request.body.length > 0))
      throw invalid('The request has no body. Send an image, or a form with images.')
    return [{ bytes: request.body }]
  }
  const uploads: Upload[] = []
  try {
    for await (const part of request.parts()) {
      if (part.type !== 'file') throw invalid(`The part '${part.fieldname}' of the form must be a file.`)
      const bytes = await request.held.read(part.file, /*announced=*/ 0)
      uploads.push({ name: part.filename, bytes })
    }
  } catch (error) {
    if (request.client.aborted || isTold(error)) throw error
    throw new ResidualError('REQUEST_INVALID', 'The form is malformed.', { cause: error })
  }
  if (uploads.length === 0) throw invalid(`The form has no files. Send up to ${maxPictures} images.`)
  return uploads
}

/** Whether an error is meant for the client. Those of the form parser are not. */
function isTold(error: unknown): boolean {
  return !['INTERNAL', 'REQUEST_ABORTED'].includes(errorAnswer(error).code)
}

/** @throws the first error that is not an image's own */
async function classifyEach(
  service: Service,
  model: LoadedModel,
  uploads: readonly Upload[],
  options: Options,
  signal: AbortSignal,
): Promise<Outcome[]> {
  const failure = new AbortController() // cancels the rest
  const either = AbortSignal.any([signal, failure.signal])
  setMaxListeners(0, either)
  try {
    return await Promise.all(uploads.map(upload => classifyOne(service, model, upload, options, either)))
  } catch (error) {
    failure.abort(error)
    throw error
  }
}

async function classifyOne(
  service: Service,
  { classifier, batcher }: LoadedModel,
  { bytes }: Upload,
  { topK, map }: Options,
  signal: AbortSignal,
): Promise<Outcome> {
  const begin = performance.now()
  try {
    const { pixels, view } = await service.decoder.prepareOne(classifier, bytes, signal)
    const decodeMs = performance.now() - begin
    const outputs: OutputName[] = map ? ['probabilities', 'featureMaps'] : ['probabilities']
    const { queueMs, computeMs, outputs: values } = await batcher.run(pixels, { outputs, signal })
    const predictions = classifier.top(values.probabilities, topK)
    const timings = { decodeMs, queueMs, computeMs }
    if (!map) return { found: { predictions, timings } }
    const { map: heat, height, width } = classifier.activationMap(values.featureMaps, predictions[0]!.index)
    return { found: { predictions, map: { height, width, values: [...heat] }, view, timings } }
  } catch (error) {
    if (!ofImage.includes((error as { code?: unknown }).code)) throw error
    return { error }
  }
}

/** Codes of errors about an image. All others are about the request or the server. */
const ofImage: readonly unknown[] = ['DECODE_FAILED', 'PICTURE_TOO_LARGE'] satisfies ErrorCode[]

/** The images of a request are processed in parallel, so each stage takes as long as its slowest image. */
function longest(timings: readonly Timings[]): Timings {
  const of = (name: keyof Timings) => Math.max(...timings.map(timing => timing[name]))
  return { decodeMs: of('decodeMs'), queueMs: of('queueMs'), computeMs: of('computeMs') }
}
