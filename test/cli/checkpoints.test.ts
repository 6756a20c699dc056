import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { writeSafetensors } from '../../lib/index.ts'
import { residual as runResidual } from '../support/command-line.ts'
import { temporaryFolder } from '../support/files.ts'

const folder = temporaryFolder()
const residual = (...args: string[]) => runResidual(folder, args)
const bundled = join(packageRoot, 'models', 'resnet50-cifar10.safetensors')

describe('residual inspect', () => {
  it('describes a file', async () => {
    const { code, stdout } = await residual('inspect', 'resnet50-cifar10')
    expect(code).toBe(0)
    expect(stdout).toContain(createHash('sha256').update(readFileSync(bundled)).digest('hex'))
    for (const line of [
      /^format +safetensors$/m,
      /^scheme +torchvision$/m,
      /^architecture +stride v1\.5, epsilon 0\.00001, layers 50, classes 10, width 0\.25/m,
      /^classes +10: airplane, automobile, bird, cat, deer, \.\.\.$/m,
      /^activation +softmax$/m,
      /^preprocessing +resize 32, crop 32x32, resize 64x64 \(bilinear\); RGB, 0\.\.1, mean 0\.485/m,
    ])
      expect(stdout).toMatch(line)
  })

  it('prints JSON, with statistics of each tensor', async () => {
    const path = join(folder, 'few.safetensors')
    const data = Float32Array.from([0, 1, 2, 5])
    await writeSafetensors(path, [{ name: 'a', shape: [4], data }], { metadata: { by: 'hand' } })
    const { code, stdout } = await residual('inspect', path, '--stats', '--json')
    expect(code).toBe(1) // for no network is in it
    const { stats, tensors, network, metadata } = JSON.parse(stdout)
    expect(stats).toEqual([
      expect.objectContaining({ name: 'a', dtype: 'F32', shape: [4], min: 0, max: 5, mean: 2 }),
    ])
    expect(stats[0].std).toBeCloseTo(Math.sqrt(14 / 4))
    expect(stats[0].histogram).toEqual([1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    expect(tensors).toEqual({ F32: { tensors: 1, numbers: 4 } })
    expect(metadata).toEqual({ by: 'hand' })
    expect(network.code).toBe('CHECKPOINT_MISMATCH')
  })

  it('does not let a file control the terminal', async () => {
    const path = join(folder, 'escape.safetensors')
    const data = new Float32Array(1)
    await writeSafetensors(path, [{ name: '\u001b[2Jx', shape: [1], data }])
    const { stdout } = await residual('inspect', path, '--stats')
    expect(stdout).toContain('\\x1b[2Jx')
    expect(stdout).not.toContain('\u001b')
  })

  it('names what it cannot read', async () => {
    writeFileSync(join(folder, 'text'), 'no checkpoint')
    expect(await residual('inspect', './text')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('[CHECKPOINT_INVALID]'),
    })
    expect((await residual('inspect', 'nothing')).stderr).toContain('[MODEL_NOT_FOUND]')
    expect((await residual('inspect', './nothing')).stderr).toContain('[FILE_NOT_FOUND]')
  })
})

describe('residual convert', () => {
  const ship = join(packageRoot, 'samples', 'ship.jpg')
  const probability = async (model: string) => {
    const { stdout } = await residual('classify', '--json', '--model', model, ship)
    return JSON.parse(stdout)[0].predictions[0]
  }

  it.each([
    [[], 1e-7],
    [['--folded'], 1e-5],
    [['--dtype', 'fp16'], 1e-2],
    [['--dtype', 'bf16', '--folded'], 5e-2],
  ])('writes a file that computes the same, with %j', async (flags, tolerance) => {
    const { code, stdout } = await residual('convert', 'resnet50-cifar10', 'out.safetensors', ...flags)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^out\.safetensors: resnet50, 10 classes/)
    const [expected, found] = [await probability('resnet50-cifar10'), await probability('out.safetensors')]
    expect(found.label).toBe('ship')
    expect(Math.abs(found.probability - expected.probability)).toBeLessThan(tolerance)
  })

  it('leaves what was there when it fails', async () => {
    writeFileSync(join(folder, 'text'), 'no checkpoint')
    writeFileSync(join(folder, 'kept.safetensors'), 'kept')
    expect((await residual('convert', './text', 'kept.safetensors')).code).toBe(1)
    expect(readFileSync(join(folder, 'kept.safetensors'), 'utf8')).toBe('kept')
    expect((await residual('convert', 'resnet50-cifar10', 'out.pth')).stderr).toContain(
      "ends in '.safetensors'",
    )
    expect((await residual('convert', 'resnet50-cifar10', 'none/out.safetensors')).stderr).toContain(
      '[FILE_WRITE_FAILED]',
    )
  })
})
