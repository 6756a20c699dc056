// How are requests and answers of `infer` written in REST? As JSON, with tensors in it or in binary behind it.
import { ResidualError } from '../errors.ts'
import type { InferRequest, RequestedOutput } from './infer.ts'
import { type InputTensor, invalid, type OutputTensor, toRaw } from './tensors.ts'

type Json = { readonly [key: string]: unknown }
type Parameters = { readonly [key: string]: string | number | boolean }

/** A request, and how its answer is to be written. */
export interface RestRequest extends InferRequest {
  readonly id: string | undefined
  readonly parameters: Parameters | undefined
  readonly timeoutMs: number | undefined
  readonly formats: ReadonlyMap<string, OutputFormat>
  readonly binaryByDefault: boolean
}

interface OutputFormat {
  readonly binary: boolean
  /** To be returned with the output. */
  readonly parameters: Parameters
}

/**
 * Reads a body. `headerLength` is the header `Inference-Header-Content-Length`, without which all of the body is JSON.
 *
 * @throws ResidualError REQUEST_INVALID, REQUEST_TOO_LARGE
 */
export function parseRequest(body: Buffer, headerLength: string | undefined, maxJson: number): RestRequest {
  const length = headerLength === undefined ? body.length : parseLength(headerLength, body.length)
  if (length > maxJson) {
    const message = `The JSON of ${length} bytes is over the limit of ${maxJson}. Send tensors in binary.`
    throw new ResidualError('REQUEST_TOO_LARGE', message)
  }
  const json = parseObject(body.toString('utf8', 0, length))
  const parameters = parseParameters(json.parameters, 'the request')
  const binaryByDefault = flag(parameters, 'binary_data_output', 'the request')
  const { outputs, formats } = parseOutputs(json.outputs, binaryByDefault)
  return {
    id: parseId(json.id),
    parameters,
    timeoutMs: parseTimeout(parameters),
    inputs: parseInputs(json.inputs, headerLength === undefined ? undefined : body.subarray(length)),
    ...(outputs && { outputs }),
    formats,
    binaryByDefault,
  }
}

function parseLength(text: string, available: number): number {
  const length = Number(text)
  if (!/^\d+$/.test(text) || length > available)
    throw invalid(
      `The header Inference-Header-Content-Length is no number up to the body's ${available} bytes.`,
    )
  return length
}

function parseObject(text: string): Json {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw invalid('The body is not JSON.')
  }
  if (!isObject(json)) throw invalid('The body is not a JSON object.')
  return json
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function parseId(id: unknown): string | undefined {
  if (id !== undefined && typeof id !== 'string') throw invalid("The request's 'id' is no string.")
  return id
}

function parseParameters(parameters: unknown, of: string): Parameters | undefined {
  if (parameters === undefined) return undefined
  const isValue = (value: unknown) => ['string', 'number', 'boolean'].includes(typeof value)
  if (!isObject(parameters) || !Object.values(parameters).every(isValue))
    throw invalid(`The parameters of ${of} are no object of strings, numbers and booleans.`)
  return parameters as Parameters
}

function flag(parameters: Parameters | undefined, name: string, of: string): boolean {
  const value = parameters?.[name] ?? false
  if (typeof value !== 'boolean') throw invalid(`The parameter '${name}' of ${of} is neither true nor false.`)
  return value
}

/** The parameter `timeout` is in microseconds, as Triton has it; 0 is none. */
export function parseTimeout(
  parameters: { readonly [key: string]: unknown } | undefined,
): number | undefined {
  const timeout = parameters?.timeout
  if (timeout === undefined || timeout === 0) return undefined
  if (!(Number.isSafeInteger(timeout) && (timeout as number) > 0))
    throw invalid("The parameter 'timeout' is no whole number of microseconds.")
  return (timeout as number) / 1000
}

function parseInputs(inputs: unknown, binary: Buffer | undefined): InputTensor[] {
  if (!Array.isArray(inputs)) throw invalid("The request's 'inputs' is no list.")
  let at = 0
  const parsed = inputs.map((input: unknown): InputTensor => {
    if (!isObject(input) || typeof input.name !== 'string') throw invalid('An input has no name.')
    const { name, datatype, shape, data } = input
    const of = `the input '${name}'`
    if (typeof datatype !== 'string') throw invalid(`The datatype of ${of} is no string.`)
    if (!Array.isArray(shape) || !shape.every(extent => Number.isSafeInteger(extent) && extent >= 0))
      throw invalid(`The shape of ${of} is no list of whole numbers.`)
    const size = parseParameters(input.parameters, of)?.binary_data_size
    if (size === undefined) {
      if (!Array.isArray(data)) throw invalid(`The data of ${of} is no list.`)
      return { name, datatype, shape, values: data }
    }
    if (data !== undefined) throw invalid(`There are data in JSON and in binary for ${of}.`)
    if (!(Number.isSafeInteger(size) && (size as number) >= 0))
      throw invalid(`The parameter 'binary_data_size' of ${of} is no number of bytes.`)
    if (!binary)
      throw invalid(`The request has no header Inference-Header-Content-Length, but ${of} is in binary.`)
    if (at + (size as number) > binary.length)
      throw invalid(`There are ${binary.length - at} bytes of data for ${of}, not ${size}.`)
    at += size as number
    return { name, datatype, shape, raw: binary.subarray(at - (size as number), at) }
  })
  if (binary && at < binary.length)
    throw invalid(`There are ${binary.length - at} bytes after the last input.`)
  return parsed
}

function parseOutputs(
  outputs: unknown,
  binaryByDefault: boolean,
): { outputs?: RequestedOutput[]; formats: Map<string, OutputFormat> } {
  const formats = new Map<string, OutputFormat>()
  if (outputs === undefined) return { formats }
  if (!Array.isArray(outputs)) throw invalid("The request's 'outputs' is no list.")
  const parsed = outputs.map((output: unknown): RequestedOutput => {
    if (!isObject(output) || typeof output.name !== 'string') throw invalid('An output has no name.')
    const of = `the output '${output.name}'`
    const all = parseParameters(output.parameters, of) ?? {}
    const { binary_data, classification, ...parameters } = all
    const binary = binary_data === undefined ? binaryByDefault : flag(all, 'binary_data', of)
    formats.set(output.name, { binary, parameters })
    if (classification === undefined) return { name: output.name }
    return { name: output.name, classification: classification as number } // `infer` checks it
  })
  return { outputs: parsed, formats }
}

/** An answer: the JSON, and the tensors in binary that follow it, if any. */
export interface RestAnswer {
  readonly json: string
  readonly binary: readonly Buffer[]
}

/** Writes the answer to `request`. */
export function formatAnswer(
  request: RestRequest,
  model: { readonly name: string; readonly version: string },
  outputs: readonly OutputTensor[],
): RestAnswer {
  const binary: Buffer[] = []
  const json = {
    model_name: model.name,
    model_version: model.version,
    id: request.id,
    parameters: request.parameters,
    outputs: outputs.map(output => {
      const { name, datatype, shape, data } = output
      const asDefault = { binary: request.binaryByDefault, parameters: {} }
      const { binary: inBinary, parameters } = request.formats.get(name) ?? asDefault
      if (!inBinary) {
        const given = Object.keys(parameters).length > 0 ? { parameters } : {}
        return { name, datatype, shape, ...given, data: Array.from<number | string>(data) }
      }
      const raw = toRaw(output)
      binary.push(raw)
      return { name, datatype, shape, parameters: { ...parameters, binary_data_size: raw.length } }
    }),
  }
  return { json: JSON.stringify(json), binary }
}
