import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { imagenet, load } from '../../lib/index.ts'
import { residual as runResidual } from '../support/command-line.ts'
import { temporaryFolder } from '../support/files.ts'
import { post, sampleImage, spawnServer } from '../support/server.ts'

const folder = temporaryFolder()
const residual = (...args: string[]) => runResidual(folder, args)
const ship = join(packageRoot, 'samples', 'ship.jpg')

const steps = [{ resize: { shorterSide: 72 } }, { crop: { height: 64, width: 64 } }] as const
const all = {
  steps,
  interpolation: 'bicubic',
  mean: [100, 110, 120],
  std: [1, 2, 3.5],
  range: 255,
  channels: 'BGR',
  cropRounding: 'down',
} as const
const flags = [
  ...['--steps', 'resize 72, crop 64', '--interpolation', 'bicubic', '--mean', '100,110,120'],
  ...['--std', '1,2,3.5', '--range', '255', '--channels', 'BGR', '--crop-rounding', 'down'],
]

const inspected = async (model: string, ...args: string[]) => {
  const { stdout } = await residual('inspect', model, '--json', ...args)
  return JSON.parse(stdout).network.preprocessing
}

describe('preprocessing on the command line', () => {
  it("overrides the checkpoint's own, as far as it is given", async () => {
    const own = await inspected('resnet50-cifar10')
    expect(await inspected('resnet50-cifar10', ...flags)).toEqual(all)
    expect(await inspected('resnet50-cifar10', '--std', '1,1,1')).toEqual({ ...own, std: [1, 1, 1] })
    expect((await inspected('resnet50-cifar10', '--crop-fraction', '0.875')).steps).toEqual([
      { resize: { shorterSide: 73 } },
      { crop: { height: 64, width: 64 } },
    ])
    expect((await inspected('resnet50-cifar10', '--steps', 'crop 9x7,resize 64x32')).steps).toEqual([
      { crop: { height: 9, width: 7 } },
      { resize: { height: 64, width: 32 } },
    ])
  })

  it("comes before NAME.json, then other libraries' files, then what the tensor names imply", async () => {
    mkdirSync(join(folder, 'beside'))
    const path = join(folder, 'beside', 'model.safetensors')
    const write = (name: string, json: object) =>
      writeFileSync(join(folder, 'beside', name), JSON.stringify(json))
    copyFileSync(join(packageRoot, 'models', 'resnet50-cifar10.safetensors'), path)
    const [mean, std] = [
      [0.1, 0.2, 0.3],
      [0.4, 0.5, 0.6],
    ] as const
    expect(await inspected(path)).toEqual(imagenet)
    write('config.json', { model_type: 'resnet' })
    write('preprocessor_config.json', { size: 32, image_mean: mean, image_std: std, resample: 2 })
    expect(await inspected(path)).toEqual({
      steps: [{ resize: { shorterSide: 36 } }, { crop: { height: 32, width: 32 } }],
      interpolation: 'bilinear',
      cropRounding: 'down',
      ...{ mean, std },
    })
    write('model.json', { preprocessing: { ...all, std: [7, 8, 9] } })
    expect(await inspected(path)).toEqual({ ...all, std: [7, 8, 9] })
    expect(await inspected(path, '--std', '1,1,1', '--range', '1')).toEqual({
      ...all,
      ...{ std: [1, 1, 1], range: 1 },
    })
  })

  it('is used by classify, serve and converted files', async () => {
    await using classifier = await load('resnet50-cifar10', { device: 'cpu', preprocessing: all })
    const [predictions] = await classifier.classify([ship])
    const expected = predictions![0]!
    const classified = async (...args: string[]) => {
      const { stdout } = await residual('classify', ship, '--device', 'cpu', '--json', ...args)
      return JSON.parse(stdout)[0].predictions[0]
    }
    expect(await classified(...flags)).toEqual(expected)
    expect((await classified()).probability).not.toBeCloseTo(expected.probability, 3)

    await residual('convert', 'resnet50-cifar10', 'changed.safetensors', ...flags)
    const record = JSON.parse(readFileSync(join(folder, 'changed.json'), 'utf8'))
    expect(record.preprocessing).toEqual(all)
    expect((await classified('--model', 'changed.safetensors')).probability).toBeCloseTo(expected.probability)

    const server = await spawnServer(['--max-batch', '1', ...flags])
    const { json } = await post(`${server.url}/classify`, sampleImage('ship'))
    server.kill('SIGTERM')
    expect(json.results[0].predictions[0].probability).toBeCloseTo(expected.probability, 5)
    expect(await server.exit).toBe(0)
  })

  it.each([
    [['--mean', '1,2'], "'1,2' is invalid. Expected three numbers"],
    [['--mean', '1,,2'], 'Expected three numbers'],
    [['--std', '1,NaN,1'], 'Expected three numbers'],
    [['--std', '1,0,1'], "'std' that is not three positive numbers. [MODEL_INVALID]"],
    [['--range', '-1'], 'Expected a number above 0'],
    [['--range', 'Infinity'], 'Expected a number above 0'],
    [['--channels', 'GBR'], 'Allowed choices are RGB, BGR'],
    [['--interpolation', 'nearest'], 'Allowed choices are bilinear, bicubic'],
    [['--crop-fraction', '1.5'], 'Expected a number above 0, up to 1'],
    [
      ['--crop-fraction', '1e-9'],
      'has the invalid step {"resize":{"shorterSide":63999999999}}. [MODEL_INVALID]',
    ],
    [['--crop-fraction', '1', '--steps', 'crop 64'], 'cannot be used with option'],
    [['--steps', 'flip'], "Expected steps such as 'resize 256, crop 224x224'"],
    [['--steps', ''], 'Expected steps such as'],
    [['--steps', 'resize 64'], 'leaves the size undetermined. [MODEL_INVALID]'],
    [['--steps', 'crop 0'], 'has the invalid step {"crop":{"height":0,"width":0}}. [MODEL_INVALID]'],
    [
      ['--steps', 'crop 999999999'],
      'has the invalid step {"crop":{"height":999999999,"width":999999999}}. [MODEL_INVALID]',
    ],
  ])('is refused if it is invalid: %j', async (args, message) => {
    const { code, stderr } = await residual('classify', ship, ...args)
    expect(code).toBe(1)
    expect(stderr).toContain(message)
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  it('has a crop fraction only for squares', async () => {
    await expect(
      load('resnet50-cifar10', {
        preprocessing: { steps: [{ crop: { height: 32, width: 64 } }], cropFraction: 0.9 },
      }),
    ).rejects.toMatchObject({ code: 'MODEL_INVALID', message: expect.stringContaining("both 'steps'") })
    const path = join(folder, 'oblong.safetensors')
    copyFileSync(join(packageRoot, 'models', 'resnet50-cifar10.safetensors'), path)
    const preprocessing = { ...imagenet, steps: [{ crop: { height: 32, width: 64 } }] }
    writeFileSync(join(folder, 'oblong.json'), JSON.stringify({ preprocessing }))
    for (const cropFraction of [0.9, 0, '1' as unknown as number])
      await expect(load(path, { preprocessing: { cropFraction } })).rejects.toMatchObject({
        code: 'MODEL_INVALID',
        message: expect.stringContaining("'cropFraction'"),
      })
  })
})
