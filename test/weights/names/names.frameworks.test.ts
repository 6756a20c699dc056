import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { type LoadOptions, load, openSafetensors } from '../../../lib/index.ts'
import { packageRoot } from '../../../lib/package-root.ts'
import { temporaryFolder } from '../../support/files.ts'
import { relativeError } from '../../support/golden.ts'
import { python } from '../../support/python.ts'

const script = join(packageRoot, 'test', 'support', 'frameworks.py')
const folder = temporaryFolder()

/** The networks of each, and the ends of the names of the files that are made. */
const frameworks = {
  torchvision: {
    cases: ['resnet18', 'resnet50', 'resnext50_32x4d', 'wide_resnet50_2'],
    forms: ['.safetensors', '.pth', '.plain.pth', '.whole.pth'],
  },
  'torch.onnx': {
    cases: ['resnet18', 'resnext50_32x4d'],
    forms: ['.old.onnx', '.unfolded.onnx', '.new.onnx', '.external.onnx'],
  },
  timm: {
    cases: ['resnet34', 'resnet50', 'resnext50_32x4d', 'resnet18d', 'resnet50d', 'resnet50t', 'resnet101c'],
    forms: ['.safetensors'],
  },
  transformers: {
    cases: ['basic', 'bottleneck', 'v1'],
    forms: [''],
  },
  keras: {
    cases: ['ResNet50', 'ResNet101', 'until 2018'],
    forms: ['.h5', '.weights.h5', '.keras', '.nested.h5', '.nested.weights.h5', '.nested.keras'],
  },
} as const

const side = { height: 64, width: 64 }
const options: LoadOptions = {
  ...{ device: 'cpu', threads: 2, maxBatch: 1 },
  preprocessing: { steps: [{ crop: side }] },
}

describe.each(Object.entries(frameworks))('a checkpoint of %s', (framework, { cases, forms }) => {
  it.each(cases)('gives its logits: %s', async name => {
    const { status, stdout, stderr } = spawnSync(python, [script, folder, framework, name], {
      encoding: 'utf8',
    })
    expect(status, stdout + stderr).toBe(0)
    await using io = await openSafetensors(join(folder, `${name}.io.safetensors`))
    const [picture, expected] = [await io.read('picture'), await io.read('logits')]
    for (const form of forms) {
      await using classifier = await load(join(folder, `${name}${form}`), options)
      const { logits } = await classifier.run(picture, { outputs: ['logits'] })
      expectClose(logits, expected, `${framework} ${name}${form}`)
      if (framework === 'transformers') expect(classifier.labels[3]).toBe('label 3')
      if (!io.tensors.has('rgb')) continue
      // The channels are turned round, and the mean is subtracted of bytes.
      const rgb = Uint8Array.from(await io.read('rgb'))
      const raw = { ...side, channels: 3 } as const
      const png = await sharp(rgb, { raw }).png().toBuffer()
      const { pixels } = await classifier.prepare(png)
      const turned = await classifier.run(pixels, { outputs: ['logits'] })
      expectClose(turned.logits, await io.read('logits of rgb'), `${framework} ${name}${form}, a picture`)
    }
    rmSync(folder, { recursive: true })
    mkdirSync(folder)
  })
})

function expectClose(found: Float32Array, expected: Float32Array, what: string): void {
  const difference = relativeError(found, expected)
  console.log(`${what}: ${difference.toExponential(1)} of the logits' norm`)
  expect(difference).toBeLessThan(1e-4)
}
