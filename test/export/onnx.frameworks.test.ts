// Exported networks in other programs: onnx's checker, onnxruntime and OpenVINO for Python.
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { toNchw } from '../../lib/benchmark/nchw.ts'
import { createSession, lower, networkToOnnx, planToOnnx, resnet } from '../../lib/index.ts'
import { temporaryFolder } from '../support/files.ts'
import { goldenImages, goldenWeights, relativeError } from '../support/golden.ts'
import { runPython } from '../support/python.ts'

const folder = temporaryFolder()
const shape = { height: 64, width: 96, channels: 3 }
const batch = 2

/** Of every kind of layer there is. */
const networks = {
  bottlenecks: resnet({ layers: 50, width: 0.25, classes: 5 }),
  'basic blocks, v1': resnet({ layers: 18, width: 0.25, classes: 2, stride: 'v1' }),
  'ResNet-D': resnet({ layers: 18, width: 0.25, classes: 5, deepStem: [8, 8], averagedShortcut: true }),
  groups: resnet({ layers: 50, width: 0.25, classes: 1, groups: 4, widthPerGroup: 16 }),
}

it("are valid, and give residual's logits", async () => {
  const expected = new Map<string, Float32Array>()
  for (const [name, network] of Object.entries(networks)) {
    const weights = goldenWeights(network)
    const plan = lower(network, { ...shape, mean: [0, 0, 0], std: [1, 1, 1] })
    const images = goldenImages(batch, shape)
    await using session = await createSession(plan, weights, { device: 'cpu' })
    const { logits } = await session.run(images)
    const input = toNchw(images, [batch, shape.height, shape.width, shape.channels])
    const exported = {
      [name]: await networkToOnnx(network, weights, shape),
      [`${name}, folded`]: await planToOnnx(plan, weights),
    }
    for (const [file, onnx] of Object.entries(exported)) {
      await writeFile(join(folder, `${file}.onnx`), onnx)
      await writeFile(join(folder, `${file}.f32`), input)
      expected.set(file, logits)
    }
  }
  const engines = runPython(readFileSync(new URL('onnx_engines.py', import.meta.url), 'utf8'), folder).trim()
  expect(engines).toBe('onnxruntime openvino')
  for (const [file, logits] of expected)
    for (const engine of engines.split(' ')) {
      const bytes = readFileSync(join(folder, `${file}.${engine}.f32`))
      const found = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
      const difference = relativeError(found, logits)
      console.log(`${engine}, ${file}: ${difference.toExponential(1)} of the logits' norm`)
      expect(difference).toBeLessThan(2e-5)
    }
})
