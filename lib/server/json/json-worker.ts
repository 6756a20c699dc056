// The worker thread that parses large JSON: answers each message with a request whose tensors are bytes.
import { parentPort } from 'node:worker_threads'
import { ResidualError } from '../../errors.ts'
import { parseJson, withValuesRead } from './json.ts'
import type { JsonAnswer, JsonQuestion } from './json-parser.ts'

parentPort!.on('message', ({ json, binaryLength, mostElements }: JsonQuestion) => {
  const text = Buffer.from(json.buffer, json.byteOffset, json.byteLength).toString()
  try {
    const request = withValuesRead(parseJson(text, binaryLength), json.byteLength, mostElements)
    const arrays = request.inputs.flatMap(input =>
      'from' in input ? [] : [...(input.raw ? [input.raw] : []), ...(input.elements ?? [])],
    )
    // Small arrays share memory that cannot be transferred; they are copied.
    const owned = arrays.filter(({ buffer, byteLength }) => buffer.byteLength === byteLength)
    answer({ request }, [...new Set(owned.map(({ buffer }) => buffer as ArrayBuffer))])
  } catch (error) {
    if (!(error instanceof ResidualError)) throw error // ends the thread, and the caller gets the error
    answer({ error: { code: error.code, message: error.message } }, [])
  }
})

function answer(message: JsonAnswer, handedOver: ArrayBuffer[]): void {
  parentPort!.postMessage(message, handedOver)
}
