import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openModel } from '../../lib/index.ts'
import { lowerModel } from '../../lib/open-model.ts'
import { saveQuantizedModel } from '../../lib/save-model.ts'
import type { RunningServer } from '../../lib/server/index.ts'
import { seeded, temporaryFolder } from '../support/files.ts'
import { quantizationOf } from '../support/quantizations.ts'
import { ask, imageBytes, inferBinary, startServer } from '../support/server.ts'

const path = join(temporaryFolder(), 'resnet50-cifar10.safetensors') // the name that requests use
const random = seeded(8)
const pixels = Uint8Array.from({ length: imageBytes }, () => 256 * random())
const request = (name: string, datatype: string, shape: number[]) => ({
  inputs: [{ name, datatype, shape }],
  outputs: [{ name: 'logits' }],
})

describe('a server of a quantized model', () => {
  let server: RunningServer
  let normalised: Float32Array // [1,3,H,W]
  beforeAll(async () => {
    await using model = await openModel('resnet50-cifar10')
    await saveQuantizedModel(path, model, { quantization: quantizationOf(lowerModel(model)) })
    const { mean, std } = model.preprocessing
    const plane = imageBytes / 3
    normalised = Float32Array.from({ length: imageBytes }, (_, i) => {
      const c = Math.floor(i / plane)
      return (pixels[(i % plane) * 3 + c]! / 255 - mean[c]!) / std[c]!
    })
    server = await startServer({ models: [path], threads: 1, maxBatch: 2 })
  }, 60_000)
  afterAll(() => server.stop())

  const tensor = request('tensor', 'FP32', [1, 3, 64, 64])
  const bytesOf = (floats: Float32Array) => new Uint8Array(floats.buffer)

  it('computes in int8 and says so', async () => {
    expect(server.models).toMatchObject([{ device: { kind: 'cpu', precision: 'int8' } }])
    expect(server.hints).toEqual([])
    const { json } = await ask(`${server.url}/metrics`)
    expect(json).toMatch(
      /^residual_model_info\{model="resnet50-cifar10",device="CPU \(\w+\)",precision="int8"\} 1$/m,
    )
  })

  it('takes bytes, and floats that were made of them', async () => {
    const shape = [1, 64, 64, 3]
    const ofBytes = await inferBinary(server, request('pixels', 'UINT8', shape), pixels)
    const ofFloats = await inferBinary(server, tensor, bytesOf(normalised))
    expect(ofBytes.status).toBe(200)
    expect(ofFloats.json.outputs).toEqual(ofBytes.json.outputs)
  })

  it("refuses other floats as the client's mistake", async () => {
    const wrong = await inferBinary(server, tensor, bytesOf(normalised.map(number => number + 10)))
    expect(wrong).toMatchObject({
      status: 400,
      json: { error: expect.stringMatching(/^Element 0 of the input is .*\[INPUT_OUT_OF_RANGE\]$/) },
    })
  })
})
