import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { load, openSafetensors } from '../../lib/index.ts'
import { temporaryFolder } from '../support/files.ts'
import { relativeError } from '../support/golden.ts'
import { python } from '../support/python.ts'

const folder = temporaryFolder()
const script = join(packageRoot, 'test', 'support', 'preprocessing.py')

const cases = [
  'crop',
  'squashed',
  'extent',
  'shorter-side',
  'bytes',
  'timm-crop',
  'timm',
  'timm-whole',
  'timm-squash',
] as const

describe('one image, by a checkpoint and what transformers and timm save beside it,', () => {
  execFileSync(python, ['-W', 'ignore', script, folder], { stdio: ['ignore', 'ignore', 'pipe'] })

  it.each(cases)('gives the pixels and the logits that the library gives: %s', async name => {
    await using io = await openSafetensors(join(folder, `${name}.io.safetensors`))
    const [expectedPixels, expected] = [await io.read('pixels'), await io.read('logits')]
    await using classifier = await load(join(folder, name), { device: 'cpu', threads: 2, maxBatch: 1 })
    expect(classifier.labels[3]).toBe('label 3')
    const { pixels } = await classifier.prepare(join(folder, 'image.png'))
    const { mean, std, range = 1 } = classifier.preprocessing
    expect(pixels).toHaveLength(expectedPixels.length)
    const levels = Array.from(pixels, (byte, i) => {
      const expectedByte = ((expectedPixels[i]! * std[i % 3]! + mean[i % 3]!) / range) * 255
      return Math.abs(byte - expectedByte)
    })
    const { logits } = await classifier.run(pixels, { outputs: ['logits'] })
    const difference = relativeError(logits, expected)
    const far = levels.filter(level => level > 0.5).length
    console.log(
      `${name}: ${far} of ${levels.length} bytes differ; ${difference.toExponential(1)} of the logits' norm`,
    )
    expect(far).toBe(0)
    expect(difference).toBeLessThan(1e-4)
  })
})
