// The JSON of REST `infer` requests, parsed on the event loop or, if large, on a worker thread.

import { ResidualError } from '../../errors.ts'
import { product } from '../../model/product.ts'
import { mostElse, parseTimeout } from '../protocol/parameters.ts'
import type { RequestedOutput } from '../protocol/request.ts'
import { refuseSharedMemory } from '../protocol/shared-memory.ts'
import type { InputTensor } from '../protocol/tensor.ts'
import { invalid, readValues } from '../protocol/tensor-values.ts'
import { checkDepth, mostExtents } from './json-depth.ts'

type Json = { readonly [key: string]: unknown }
export type Parameters = { readonly [key: string]: string | number | boolean }

/** The JSON of a request. */
export interface ParsedJson {
  readonly id: string | undefined
  readonly parameters: Parameters | undefined
  readonly timeoutMs: number | undefined
  readonly inputs: readonly (InputTensor | BinaryTensor)[]
  readonly outputs?: readonly RequestedOutput[]
  readonly formats: ReadonlyMap<string, OutputFormat>
  readonly binaryByDefault: boolean
}

/** A tensor whose bytes are `[from, to)` of the data after the JSON. */
export interface BinaryTensor extends Pick<InputTensor, 'name' | 'datatype' | 'shape'> {
  readonly from: number
  readonly to: number
}

export interface OutputFormat {
  readonly binary: boolean
  /** Returned with the output. */
  readonly parameters: Parameters
}

/**
 * Parses the JSON of a request that is followed by `binaryLength` bytes of binary data, or by none.
 *
 * @throws ResidualError REQUEST_INVALID
 */
export function parseJson(text: string, binaryLength: number | undefined): ParsedJson {
  const json = parseObject(text)
  const parameters = parseParameters(json.parameters, 'the request')
  const binaryByDefault = flag(parameters, 'binary_data_output', 'the request')
  const { outputs, formats } = parseOutputs(json.outputs, binaryByDefault)
  return {
    id: parseId(json.id),
    parameters,
    timeoutMs: parseTimeout(parameters),
    inputs: parseInputs(json.inputs, binaryLength),
    ...(outputs && { outputs }),
    formats,
    binaryByDefault,
  }
}

/**
 * The same request with the values of its tensors read, which is cheap to pass to another thread. A tensor of an impossible
 * shape, larger than what was sent, or of more than `mostElements` elements is left empty: it will be refused for its shape or
 * size.
 *
 * @throws ResidualError REQUEST_INVALID, REQUEST_TOO_LARGE
 */
export function withValuesRead(request: ParsedJson, jsonLength: number, mostElements: number): ParsedJson {
  const inputs = request.inputs.map(input => ({ ...input, values: undefined }))
  const besides = JSON.stringify({ ...request, inputs, formats: [...request.formats] }).length
  if (besides > mostElse) throw tooMuchElse()
  const read = (input: InputTensor | BinaryTensor): InputTensor | BinaryTensor => {
    if (!('values' in input) || !input.values) return input
    const { values, ...tensor } = input
    const { shape } = tensor
    const tooMany = tensor.datatype === 'BYTES' && product(shape) > mostElements
    if (shape.length > mostExtents || product(shape) > jsonLength || tooMany)
      return { ...tensor, raw: new Uint8Array() }
    return { ...tensor, ...readValues(tensor, values) }
  }
  return { ...request, inputs: request.inputs.map(read) }
}

export const tooMuchElse = () =>
  new ResidualError(
    'REQUEST_TOO_LARGE',
    `The request has more than ${mostElse} bytes besides tensor data. Send fewer parameters.`,
  )

/** @throws ResidualError REQUEST_INVALID */
export function parseObject(text: string): Json {
  checkDepth(text)
  let json: unknown
  try {
    json = JSON.parse(text.startsWith(byteOrderMark) ? text.slice(1) : text)
  } catch {
    throw invalid('The body is not JSON.')
  }
  if (!isObject(json)) throw invalid('The body is not a JSON object.')
  return json
}

const byteOrderMark = '\ufeff' // some editors and PowerShell begin UTF-8 with it

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

// Some clients write null for members they leave unset.
const isUnset = (value: unknown): value is null | undefined => value === undefined || value === null

function parseId(id: unknown): string | undefined {
  if (isUnset(id)) return undefined
  if (typeof id !== 'string') throw invalid("'id' must be a string.")
  return id
}

function parseParameters(parameters: unknown, of: string): Parameters | undefined {
  if (isUnset(parameters)) return undefined
  const isValue = (value: unknown) => ['string', 'number', 'boolean'].includes(typeof value)
  if (!isObject(parameters) || !Object.values(parameters).every(isValue))
    throw invalid(`'parameters' of ${of} must be an object of strings, numbers and booleans.`)
  refuseSharedMemory(parameters, of)
  return parameters as Parameters
}

function flag(parameters: Parameters | undefined, name: string, of: string): boolean {
  const value = parameters?.[name] ?? false
  if (typeof value !== 'boolean') throw invalid(`The parameter '${name}' of ${of} must be true or false.`)
  return value
}

function parseInputs(inputs: unknown, binaryLength: number | undefined): (InputTensor | BinaryTensor)[] {
  if (!Array.isArray(inputs)) throw invalid("'inputs' must be a list.")
  let at = 0
  const parsed = inputs.map((input: unknown): InputTensor | BinaryTensor => {
    if (!isObject(input) || typeof input.name !== 'string') throw invalid("Every input must have a 'name'.")
    const { name, datatype, shape, data } = input
    const of = `the input '${name}'`
    if (typeof datatype !== 'string') throw invalid(`'datatype' of ${of} must be a string.`)
    if (!Array.isArray(shape) || !shape.every(extent => Number.isSafeInteger(extent) && extent >= 0))
      throw invalid(`'shape' of ${of} must be a list of whole numbers.`)
    const size = parseParameters(input.parameters, of)?.binary_data_size
    if (size === undefined) {
      if (!Array.isArray(data)) throw invalid(`'data' of ${of} must be a list.`)
      return { name, datatype, shape, values: data }
    }
    if (!isUnset(data)) throw invalid(`The data of ${of} must be in JSON or in binary, not both.`)
    if (!(Number.isSafeInteger(size) && (size as number) >= 0))
      throw invalid(`The parameter 'binary_data_size' of ${of} must be a number of bytes.`)
    if (binaryLength === undefined)
      throw invalid(`The binary data of ${of} requires the header Inference-Header-Content-Length.`)
    if (at + (size as number) > binaryLength)
      throw invalid(`The body has ${binaryLength - at} bytes of data for ${of}, not ${size}.`)
    at += size as number
    return { name, datatype, shape, from: at - (size as number), to: at }
  })
  if (binaryLength !== undefined && at < binaryLength)
    throw invalid(`The body has ${binaryLength - at} bytes after the last input.`)
  return parsed
}

function parseOutputs(
  outputs: unknown,
  binaryByDefault: boolean,
): { outputs?: RequestedOutput[]; formats: Map<string, OutputFormat> } {
  const formats = new Map<string, OutputFormat>()
  if (isUnset(outputs)) return { formats }
  if (!Array.isArray(outputs)) throw invalid("'outputs' must be a list.")
  const parsed = outputs.map((output: unknown): RequestedOutput => {
    if (!isObject(output) || typeof output.name !== 'string')
      throw invalid("Every output must have a 'name'.")
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
