// Fuzzes the reader of ONNX files.
import { rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeOnnx } from '../../lib/export/onnx-schema.ts'
import { openOnnx } from '../../lib/weights/formats/onnx/open-onnx.ts'
import { smallOnnx } from '../support/onnx.ts'
import { quantizedOnnx } from '../support/onnx-quantized.ts'
import { readAll } from './read-all.ts'

const path = join(tmpdir(), `residual-fuzz-${process.pid}.onnx`)

/** A target of the fuzzer. */
export const onnxTarget = {
  name: 'ONNX',
  seeds: async () => [
    Buffer.from(encodeOnnx(smallOnnx())),
    Buffer.from(
      encodeOnnx(quantizedOnnx({ activations: 'U8', weights: 'S8', perChannel: true, implied: true })),
    ),
    Buffer.from(
      encodeOnnx(quantizedOnnx({ activations: 'S8', weights: 'U8', perChannel: false, symmetric: true })),
    ),
  ],
  open: async (bytes: Buffer) => {
    writeFileSync(path, bytes)
    try {
      await using checkpoint = await openOnnx(path)
      await readAll(checkpoint, bytes)
    } finally {
      rmSync(path)
    }
  },
}
