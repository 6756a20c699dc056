import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../../lib/base/package-root.ts'
import { type LoadOptions, load, openSafetensors } from '../../../lib/index.ts'
import { imagenetNames, namesBySynset } from '../../../lib/sidecars/imagenet-names.ts'
import { findUnsupported } from '../../../lib/weights/names/unsupported.ts'
import { temporaryFolder } from '../../support/files.ts'
import { relativeError } from '../../support/golden.ts'
import { python, runPython } from '../../support/python.ts'

const script = join(packageRoot, 'test', 'support', 'frameworks.py')
const folder = temporaryFolder()

/** The networks of each, and the ends of the names of the files that are made. */
const frameworks = {
  torchvision: {
    cases: ['resnet18', 'resnet50', 'resnext50_32x4d', 'wide_resnet50_2'],
    forms: ['.safetensors', '.pth', '.plain.pth', '.whole.pth'],
  },
  'torch.onnx': {
    cases: ['resnet18', 'resnext50_32x4d', 'resnet18d', 'resnet50d', 'resnet101c'],
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
    forms: [
      '.h5',
      '.weights.h5',
      '.keras',
      '.nested.h5',
      '.nested.weights.h5',
      '.nested.keras',
      '.prepared.keras',
    ],
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
    const [image, expected] = [await io.read('image'), await io.read('logits')]
    for (const form of forms) {
      await using classifier = await load(join(folder, `${name}${form}`), options)
      const { logits } = await classifier.run(image, { outputs: ['logits'] })
      expectClose(logits, expected, `${framework} ${name}${form}`)
      if (framework === 'transformers') expect(classifier.labels[3]).toBe('label 3')
      if (!io.tensors.has('rgb')) continue
      // The channels are turned round, and the mean is subtracted of bytes.
      const rgb = Uint8Array.from(await io.read('rgb'))
      const raw = { ...side, channels: 3 } as const
      const png = await sharp(rgb, { raw }).png().toBuffer()
      const { pixels } = await classifier.prepare(png)
      const turned = await classifier.run(pixels, { outputs: ['logits'] })
      expectClose(turned.logits, await io.read('logits of rgb'), `${framework} ${name}${form}, an image`)
    }
    rmSync(folder, { recursive: true })
    mkdirSync(folder)
  })
})

it("calls timm's and torchvision's other networks by their names", { timeout: 240_000 }, () => {
  const others = {
    skresnet18: 'SK-ResNet',
    skresnext50_32x4d: 'SK-ResNet',
    tresnet_m: 'TResNet',
    resnetrs50: 'ResNet-RS',
    resnest14d: 'ResNeSt',
    seresnet50: 'attention in its blocks',
    ecaresnet50d: 'attention in its blocks',
    resnet50_gn: 'group norms',
    resnetv2_50: 'ResNet v2',
    resnetv2_50x1_bit: 'ResNet v2',
    res2net50_26w_4s: 'Res2Net',
    gcresnet50t: 'byobnet',
    regnetx_002: 'RegNet',
    densenet121: 'DenseNet',
    efficientnet_b0: 'EfficientNet',
    convnext_atto: 'ConvNeXt',
    vit_tiny_patch16_224: 'transformer',
    vgg11: 'VGG',
    hrnet_w18_small: 'HRNet',
    nf_resnet26: 'NF-ResNet',
    resnet50: undefined,
    resnet50d: undefined,
    resnet50s: undefined,
    wide_resnet50_2: undefined,
  }
  const list = `import sys, json, timm, torch
with torch.device('meta'): print(json.dumps({n: list(timm.create_model(n, pretrained=False).state_dict()) for n in sys.argv[1:]}))`
  const names = JSON.parse(runPython(list, ...Object.keys(others))) as { [model: string]: string[] }
  for (const [model, what] of Object.entries(others)) {
    const found = findUnsupported(names[model]!)?.what
    if (what === undefined) expect(found, model).toBeUndefined()
    else expect(found, model).toContain(what)
  }
})

it("has ImageNet's classes as torchvision and timm have them", () => {
  const list = `import json
from torchvision.models._meta import _IMAGENET_CATEGORIES
from timm.data import ImageNetInfo
print(json.dumps([list(_IMAGENET_CATEGORIES), ImageNetInfo().label_names()]))`
  const [names, synsets] = JSON.parse(runPython(list)) as [string[], string[]]
  expect(imagenetNames).toEqual(names)
  expect([...namesBySynset.keys()]).toEqual(synsets)
})

function expectClose(found: Float32Array, expected: Float32Array, what: string): void {
  const difference = relativeError(found, expected)
  console.log(`${what}: ${difference.toExponential(1)} of the logits' norm`)
  expect(difference).toBeLessThan(1e-4)
}
