// `infer` requests and answers in REST: JSON, with tensors in it or in binary after it.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ResidualError } from '../../errors.ts'
import { toRaw } from '../inference/tensors.ts'
import { type ParsedJson, parseJson } from '../json/json.ts'
import type { JsonParser } from '../json/json-parser.ts'
import type { Limits } from '../options.ts'
import type { InferRequest } from '../protocol/request.ts'
import type { OutputTensor } from '../protocol/tensor.ts'
import { invalid } from '../protocol/tensor-values.ts'

/** A request, and the format of its answer. */
export type RestRequest = Omit<ParsedJson, 'inputs'> & InferRequest

const parsedAtOnce = 2 ** 16 // bytes of JSON, a millisecond: for less, another thread is not worth it

/**
 * Parses a body. `headerLength` is the header `Inference-Header-Content-Length`; without it the whole body is JSON.
 *
 * @throws ResidualError REQUEST_INVALID, REQUEST_TOO_LARGE, QUEUE_FULL, or the signal's reason
 */
export async function parseRequest(
  body: Buffer,
  headerLength: string | undefined,
  { jsonBytes, picturesPerRequest }: Pick<Limits, 'jsonBytes' | 'picturesPerRequest'>,
  parser: JsonParser,
  signal: AbortSignal,
): Promise<RestRequest> {
  const length = headerLength === undefined ? body.length : parseLength(headerLength, body.length)
  if (length > jsonBytes) {
    const message = `The JSON of ${length} bytes exceeds the limit of ${jsonBytes}. Send tensors in binary.`
    throw new ResidualError('REQUEST_TOO_LARGE', message)
  }
  const [json, binary] = [body.subarray(0, length), body.subarray(length)]
  const binaryLength = headerLength === undefined ? undefined : binary.length
  const parsed =
    length <= parsedAtOnce
      ? parseJson(json.toString(), binaryLength)
      : await parser.parse(json, { binaryLength, mostElements: picturesPerRequest }, signal)
  const inputs = parsed.inputs.map(input => {
    if (!('from' in input)) return input
    const { from, to, ...tensor } = input
    return { ...tensor, raw: binary.subarray(from, to) }
  })
  return { ...parsed, inputs }
}

function parseLength(text: string, available: number): number {
  const length = Number(text)
  if (!/^\d+$/.test(text) || length > available)
    throw invalid(
      `The header Inference-Header-Content-Length must be a number up to the body's ${available} bytes.`,
    )
  return length
}

/** An answer: the JSON, and the tensors in binary that follow it, if any. */
export interface RestAnswer {
  readonly json: string
  readonly binary: readonly Buffer[]
}

/** Writes the answer to `request`. */
export async function formatAnswer(
  request: RestRequest,
  model: { readonly name: string; readonly version: string },
  outputs: readonly OutputTensor[],
): Promise<RestAnswer> {
  const binary: Buffer[] = []
  const written: string[] = []
  for (const output of outputs) {
    const { name, datatype, shape } = output
    const asDefault = { binary: request.binaryByDefault, parameters: {} }
    const { binary: inBinary, parameters } = request.formats.get(name) ?? asDefault
    if (inBinary) {
      const raw = toRaw(output)
      binary.push(raw)
      const withSize = { ...parameters, binary_data_size: raw.length }
      written.push(JSON.stringify({ name, datatype, shape, parameters: withSize }))
    } else {
      const given = Object.keys(parameters).length > 0 ? { parameters } : {}
      written.push(withMember({ name, datatype, shape, ...given }, 'data', await writeList(output)))
    }
  }
  const { id, parameters } = request
  const head = { model_name: model.name, model_version: model.version, id, parameters }
  return { json: withMember(head, 'outputs', `[${written.join(',')}]`), binary }
}

/** The JSON of a non-empty object, with one more member given as JSON. */
const withMember = (object: object, name: string, json: string) =>
  `${JSON.stringify(object).slice(0, -1)},"${name}":${json}}`

const elementsPerTurn = 4096 // a millisecond or two

/**
 * The JSON of a list. Yields to the event loop now and then.
 *
 * @throws ResidualError REQUEST_INVALID for values that JSON cannot represent
 */
async function writeList({ name, data }: OutputTensor): Promise<string> {
  const parts: string[] = []
  for (let from = 0; from < data.length; from += elementsPerTurn) {
    if (from > 0) await nextTurn()
    const part = Array.from<number | string>(data.slice(from, from + elementsPerTurn))
    const bad = part.findIndex(value => typeof value === 'number' && !Number.isFinite(value))
    if (bad !== -1)
      throw invalid(
        `Element ${from + bad} of the output '${name}' is ${part[bad]}, which JSON cannot represent. Send smaller values, or ask for binary data.`,
      )
    parts.push(JSON.stringify(part).slice(1, -1))
  }
  return `[${parts.join(',')}]`
}
