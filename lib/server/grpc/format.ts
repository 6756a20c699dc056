// `infer` requests and answers in gRPC: messages with tensors in them, or raw bytes.
import { types } from 'node:util'
import type { ResidualError } from '../../errors.ts'
import { toRaw } from '../inference/tensors.ts'
import { parseTimeout } from '../protocol/parameters.ts'
import type { InferRequest, RequestedOutput } from '../protocol/request.ts'
import { refuseSharedMemory } from '../protocol/shared-memory.ts'
import type { InputTensor, OutputTensor } from '../protocol/tensor.ts'
import { invalid } from '../protocol/tensor-values.ts'
import type { WireContents, WireOutput } from './contents.ts'
import { readVarints } from './varints.ts'

/** `InferParameter`: one of these is set. Integers of 64 bits are text. */
interface Parameter {
  readonly bool_param?: boolean
  readonly int64_param?: string
  readonly string_param?: string
  readonly double_param?: number
  readonly uint64_param?: string
}

interface Parameters {
  readonly [name: string]: Parameter
}

interface Contents {
  readonly uint_contents?: readonly number[]
  readonly fp32_contents?: readonly number[]
  readonly bytes_contents?: readonly Uint8Array[]
}

/** `ModelInferRequest`, as proto-loader reads it. */
export interface ModelInferRequest {
  readonly model_name: string
  readonly model_version: string
  readonly id: string
  readonly parameters: Parameters
  readonly inputs: readonly {
    readonly name: string
    readonly datatype: string
    readonly shape: readonly string[]
    readonly parameters: Parameters
    readonly contents: Contents | null
  }[]
  readonly outputs: readonly { readonly name: string; readonly parameters: Parameters }[]
  readonly raw_input_contents: readonly Uint8Array[]
  /** Contents of the inputs, taken out before it was parsed. */
  readonly wire?: readonly (WireContents | undefined)[]
  /** Why it was not parsed in full. */
  readonly refusal?: ResidualError | undefined
}

const contentsOf: { readonly [datatype: string]: keyof Contents } = {
  UINT8: 'uint_contents',
  FP32: 'fp32_contents',
  BYTES: 'bytes_contents',
}

/** @throws ResidualError REQUEST_INVALID, REQUEST_TOO_LARGE, or the signal's reason */
export async function parseMessage(
  message: ModelInferRequest,
  signal: AbortSignal,
): Promise<InferRequest & { timeoutMs: number | undefined }> {
  const { inputs, outputs, parameters, raw_input_contents: raw, wire, refusal } = message
  if (refusal) throw refusal
  refuseSharedMemory(parameters, 'the request')
  for (const { name, parameters } of inputs) refuseSharedMemory(parameters, `the input '${name}'`)
  for (const { name, parameters } of outputs) refuseSharedMemory(parameters, `the output '${name}'`)
  if (raw.length > 0 && raw.length !== inputs.length)
    throw invalid(`The request has ${raw.length} raw contents for ${inputs.length} inputs.`)
  return {
    inputs: await Promise.all(inputs.map((input, i) => parseInput(input, raw[i], wire?.[i], signal))),
    outputs: outputs.map(parseOutput),
    timeoutMs: parseTimeout({ timeout: chosen(parameters.timeout) }),
  }
}

async function parseInput(
  { name, datatype, shape, contents }: ModelInferRequest['inputs'][number],
  raw: Uint8Array | undefined,
  wire: WireContents | undefined,
  signal: AbortSignal,
): Promise<InputTensor> {
  const tensor = { name, datatype, shape: shape.map(Number) }
  if (!raw) {
    if (wire && datatype === 'UINT8')
      return { ...tensor, raw: await readVarints(name, wire.uint_contents, signal) }
    if (wire && datatype === 'FP32') return { ...tensor, raw: Buffer.concat(wire.fp32_contents) }
    return { ...tensor, values: wire?.bytes_contents ?? contents?.[contentsOf[datatype]!] ?? [] }
  }
  if (wire || (contents && Object.values(contents).some(values => values.length > 0)))
    throw invalid(`The input '${name}' has both contents and raw contents.`)
  return { ...tensor, raw }
}

function parseOutput({ name, parameters }: ModelInferRequest['outputs'][number]): RequestedOutput {
  const classification = chosen(parameters.classification)
  return classification === undefined ? { name } : { name, classification: classification as number }
}

function chosen(parameter: Parameter | undefined): unknown {
  const { bool_param, int64_param, string_param, double_param, uint64_param } = parameter ?? {}
  const integer = int64_param ?? uint64_param
  return integer === undefined ? (bool_param ?? string_param ?? double_param) : Number(integer)
}

/** An answer: the message, and the values that are written separately. */
export interface GrpcAnswer {
  readonly response: object
  readonly wire: readonly WireOutput[]
}

/** The answer to `message`: with raw contents if the request had them. */
export function formatMessage(
  { id, parameters, raw_input_contents }: ModelInferRequest,
  model: { readonly name: string; readonly version: string },
  outputs: readonly OutputTensor[],
): GrpcAnswer {
  const raw = raw_input_contents.length > 0
  const head = { model_name: model.name, model_version: model.version, id, parameters }
  const tensors = outputs.map(({ name, datatype, shape }) => ({ name, datatype, shape }))
  if (raw)
    return { response: { ...head, outputs: tensors, raw_output_contents: outputs.map(toRaw) }, wire: [] }
  // Text is written with the message, and so are all outputs before it, to preserve the order.
  const beside = outputs.findLastIndex(({ datatype }) => datatype !== 'FP32') + 1
  return {
    response: {
      ...head,
      outputs: outputs.slice(0, beside).map((output, i) => ({ ...tensors[i], contents: contents(output) })),
    },
    wire: outputs.slice(beside).map((output, i) => ({
      tensor: tensors[beside + i]!,
      packedFloats: toRaw(output),
    })),
  }
}

function contents({ data }: OutputTensor): Contents {
  if (types.isFloat32Array(data)) return { fp32_contents: Array.from(data) }
  return { bytes_contents: data.map(element => Buffer.from(element)) }
}
