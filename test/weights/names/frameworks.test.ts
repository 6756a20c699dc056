import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { load, openSafetensors } from '../../../lib/index.ts'
import { packageRoot } from '../../../lib/runtime/native.ts'
import { temporaryFolder } from '../../support/files.ts'

const python = process.env.RESIDUAL_PYTHON ?? 'python3'
const script = join(packageRoot, 'test', 'support', 'frameworks.py')
const folder = temporaryFolder()

const modules: { readonly [framework: string]: string } = {
  torchvision: 'torchvision, safetensors',
  timm: 'timm, safetensors',
  transformers: 'transformers, torch, safetensors',
  keras: 'keras, safetensors',
}

/** Whether Python can import what a framework takes; where it cannot, says so. */
function have(framework: string): boolean {
  const code = `import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in '${modules[framework]}'.split(', ')))`
  const found = spawnSync(python, ['-c', code]).status === 0
  if (!found) console.warn(`skipped: ${python} has not all of ${modules[framework]}`)
  return found
}

const cases = {
  torchvision: ['resnet18', 'resnet50', 'resnext50_32x4d', 'wide_resnet50_2'],
  timm: ['resnet34', 'resnet50', 'resnext50_32x4d'],
  transformers: ['basic', 'bottleneck', 'v1'],
  keras: ['ResNet50', 'ResNet101'],
}

describe.each(Object.entries(cases))('a checkpoint of %s', (framework, names) => {
  it.skipIf(!have(framework)).each(names)('gives its logits: %s', { timeout: 120_000 }, async name => {
    const { status, stdout, stderr } = spawnSync(python, [script, folder, framework, name], {
      encoding: 'utf8',
    })
    expect(status, stdout + stderr).toBe(0)
    await using io = await openSafetensors(join(folder, `${name}.io.safetensors`))
    const [picture, expected] = [await io.read('picture'), await io.read('logits')]
    const directory = join(folder, name)
    const path = existsSync(directory) ? directory : `${directory}.safetensors`
    const size = { height: 64, width: 64 }
    await using classifier = await load(path, {
      device: 'cpu',
      threads: 2,
      maxBatch: 1,
      preprocessing: { steps: [{ crop: size }] },
    })
    const { logits } = await classifier.run(picture, { outputs: ['logits'] })
    const norm = Math.hypot(...expected)
    const difference = Math.hypot(...logits.map((value, i) => value - expected[i]!)) / norm
    console.log(
      `${framework} ${name}: ${difference.toExponential(1)} of the logits' norm of ${norm.toFixed(2)}`,
    )
    expect(difference).toBeLessThan(1e-4)
    if (framework === 'transformers') expect(classifier.labels[3]).toBe('label 3')
  })
})
