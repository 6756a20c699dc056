import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { openModel, writeSafetensors } from '../../lib/index.ts'
import { lowerModel } from '../../lib/open-model.ts'
import { saveQuantizedModel } from '../../lib/save-model.ts'
import { residual as runResidual } from '../support/command-line.ts'
import { temporaryFolder } from '../support/files.ts'
import { quantizationOf } from '../support/quantizations.ts'

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

const ship = join(packageRoot, 'samples', 'ship.jpg')

describe('residual convert', () => {
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

describe('a quantized model', () => {
  const file = 'quantized.safetensors'
  const make = async () => {
    await using model = await openModel('resnet50-cifar10')
    const quantization = quantizationOf(lowerModel(model), { fc: 'bf16', 'layer1.0.conv1': 'fp32' })
    await saveQuantizedModel(join(folder, file), model, { quantization, method: { samples: 256 } })
  }

  it('is inspected, converted to floats, and its plan printed as it is run', async () => {
    await make()
    const { code, stdout } = await residual('inspect', file, '--stats')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^scheme +torchvision, folded$/m)
    expect(stdout).toMatch(/^tensors +.*51 I8 of [\d,]+ numbers/m) // the stem and two kept ones are F32
    expect(stdout).toMatch(/^quantization +int8, except fc \(bf16\), layer1\.0\.conv1 \(fp32\)$/m)
    expect(stdout).toMatch(/^layer1\.0\.conv2\.weight +I8 \[16,16,3,3\] +-0\.\d+ +0\.\d+ /m)
    expect(stdout).not.toContain('_scale')
    const { network } = JSON.parse((await residual('inspect', file, '--json')).stdout)
    expect(network.kept).toEqual({ fc: 'bf16', 'layer1.0.conv1': 'fp32' })

    const converted = await residual('convert', file, 'floats.safetensors')
    expect(converted.stdout).toMatch(/The quantization is not in the file/)
    const floats = await residual('inspect', 'floats.safetensors')
    expect(floats.stdout).toMatch(/^tensors +\d+ F32 of [\d,]+ numbers$/m)
    expect(floats.stdout).not.toMatch(/quantization/)
    expect((await residual('convert', 'resnet50-cifar10', 'floats.safetensors')).stdout).not.toMatch(
      /quantiz/,
    )

    const plan = await residual('info', '--plan', file, '--precision', 'int8')
    expect(plan.stdout).toMatch(/^conv1 +conv +64x64x3 uint8 \*1 +32x32x16 uint8 \*0\.03125 /m)
    expect(plan.stdout).toMatch(/^layer1\.0\.conv1 +conv +16x16x16 +16x16x16 /m)
    expect((await residual('info', '--plan', file)).stdout).toMatch(/MiB of weights in float32$/m)
  })

  it('is refused where it is malformed, by name', async () => {
    await make()
    const bytes = readFileSync(join(folder, file))
    const at = bytes.indexOf('\\"version\\":1')
    bytes.write('\\"version\\":2', at)
    writeFileSync(join(folder, 'next.safetensors'), bytes)
    const { code, stderr } = await residual('classify', '--model', './next.safetensors', ship)
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /next\.safetensors is not a valid safetensors file: its 'residual\.quantization' has the version 2/,
    )
  })

  it('is needed for int8', async () => {
    const { code, stderr } = await residual('classify', '--precision', 'int8', '--device', 'cpu', ship)
    expect(code).toBe(1)
    expect(stderr).toMatch(/int8 takes a quantized model.*`residual quantize`.*\[PRECISION_UNSUPPORTED\]/)
  })
})

describe('residual classify --precision', () => {
  it('says where it computes in fp32 instead, and why', async () => {
    const { code, stdout, stderr } = await residual('classify', '--precision', 'tf32', ship)
    expect(code).toBe(0)
    expect(stdout).toMatch(/ship \d/)
    expect(stderr).toBe(
      'residual: computing in fp32. tf32 is for GPUs; on the CPU there are fp32, bf16, int8.\n',
    )
  })
})
