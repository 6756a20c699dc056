import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { residual as runResidual } from '../support/command-line.ts'

/** Runs it in `folder`. */
const residual = (args: readonly string[], stdin?: Uint8Array) => runResidual(folder, args, stdin)

const samples = join(packageRoot, 'samples')
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'residual-cli-'))
  await mkdir(join(folder, 'images', 'more'), { recursive: true })
  await copyFile(join(samples, 'ship.jpg'), join(folder, 'images', 'ship.jpg'))
  await copyFile(join(samples, 'frog.jpg'), join(folder, 'images', 'more', 'FROG.JPG'))
  await writeFile(join(folder, 'images', 'notes.txt'), 'not an image')
  await writeFile(join(folder, 'broken.jpg'), (await readFile(join(samples, 'ship.jpg'))).subarray(0, 3000))
})
afterAll(() => rm(folder, { recursive: true }))

describe('residual classify', () => {
  it('prints a line per image of a folder and its subfolders', async () => {
    const { code, stdout, stderr } = await residual(['classify', 'images', '--top-k', '2', '--threads', '1'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [header, frog, ship, ...rest] = stdout.trimEnd().split('\n')
    expect(header).toMatch(/^file +ms +top 2$/)
    expect(frog).toMatch(/^images\/more\/FROG\.JPG +[\d.]+ {2}frog [\d.]+ % +\w+ [\d.]+ %$/)
    expect(ship).toMatch(/^images\/ship\.jpg +[\d.]+ {2}ship [\d.]+ % +\w+ [\d.]+ %$/)
    expect(rest).toEqual([])
  })

  it('takes files, glob patterns and standard input, and prints JSON', async () => {
    const stdin = await readFile(join(samples, 'truck.jpg'))
    const args = ['classify', '--json', 'images/ship.jpg', 'images/**/*.JPG', '-', '--batch', '2']
    const { code, stdout } = await residual(args, stdin)
    const results = JSON.parse(stdout)
    expect(code).toBe(0)
    const found = results.map((r: { file: string; predictions: { label: string }[] }) => [
      r.file,
      r.predictions[0]!.label,
    ])
    expect(found).toEqual([
      ['images/ship.jpg', 'ship'],
      ['images/more/FROG.JPG', 'frog'],
      ['-', 'truck'],
    ])
    expect(results[0].predictions).toHaveLength(5)
    expect(results[0].predictions[0]).toEqual({ index: 8, label: 'ship', probability: expect.any(Number) })
  })

  it('names what it cannot read, continues, and exits with 1', async () => {
    const args = ['classify', 'broken.jpg', 'missing.jpg', 'nothing-*.jpg', 'images/ship.jpg']
    const { code, stdout, stderr } = await residual(args)
    expect(code).toBe(1)
    expect(stdout).toMatch(/ship\.jpg .*ship/)
    expect(stderr).toMatch(/broken\.jpg cannot be decoded: .*\[DECODE_FAILED\]/)
    expect(stderr).toMatch(/missing\.jpg cannot be read: .*\[FILE_NOT_FOUND\]/)
    expect(stderr).toMatch(/No images found at \S*nothing-\*\.jpg\. \[FILE_NOT_FOUND\]/)
    expect(stderr).toMatch(/3 of 4 could not be classified/)
    const json = JSON.parse((await residual([...args, '--json'])).stdout)
    expect(json.map((r: { error?: { code: string } }) => r.error?.code)).toEqual([
      'FILE_NOT_FOUND',
      'DECODE_FAILED',
      'FILE_NOT_FOUND',
      undefined,
    ])
  })

  it('prints no heading where nothing was classified', async () => {
    const { code, stdout, stderr } = await residual(['classify', 'broken.jpg', 'missing.jpg'])
    expect(code).toBe(1)
    expect(stdout).toBe('')
    expect(stderr).toMatch(/2 of 2 could not be classified/)
  })

  it('writes class activation maps, one per image', async () => {
    await residual(['classify', 'images/ship.jpg', '--cam', 'one.png'])
    const { code, stdout } = await residual(['classify', 'images', 'images/ship.jpg', '--cam', 'map.png'])
    expect(code).toBe(0)
    expect(stdout).toContain('map: map-ship-2.png')
    const files = (await readdir(folder)).filter(file => file.endsWith('.png'))
    expect(files.sort()).toEqual(['map-FROG.png', 'map-ship-2.png', 'map-ship.png', 'one.png'])
    const original = await sharp(join(samples, 'ship.jpg')).metadata()
    const map = await sharp(join(folder, 'one.png')).metadata()
    expect([map.width, map.height, map.format]).toEqual([original.width, original.height, 'png'])
    const failed = await residual(['classify', 'images/ship.jpg', '--cam', 'no/such/folder.png'])
    expect(failed.code).toBe(1)
    expect(failed.stderr).toMatch(/\[FILE_WRITE_FAILED\]/)
  })

  it.each([
    [['classify'], /missing required argument/],
    [['classify', 'x.jpg', '--top-k', '0'], /whole number above 0/],
    [['classify', 'x.jpg', '--device', 'tpu'], /Allowed choices are auto, cpu, cuda/],
    [['classify', 'x.jpg', '--device', 'cuda'], /\[BACKEND_UNAVAILABLE\]/],
    [
      ['classify', 'x.jpg', '--model', 'resnet99'],
      /There is no file 'resnet99', no bundled model .*\[MODEL_NOT_FOUND\]/,
    ],
    [['classify', 'x.jpg', '--model', 'broken.safetensors'], /\[FILE_NOT_FOUND\]/],
    [['classify', 'x.jpg', '--threads', '99999'], /threads/],
    [['clasify', 'x.jpg'], /unknown command.*classify/s],
  ])('says what is wrong with %j', async (args, message) => {
    const { code, stderr } = await residual(args)
    expect(code).toBe(1)
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/^\s+at /m) // no stack traces
  })
})

describe('residual info', () => {
  it('prints backends, instruction set, threads, models and versions', async () => {
    const { code, stdout } = await residual(['info'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^residual +\d+\.\d+\.\d+$/m)
    expect(stdout).toMatch(/^threads +\d+$/m)
    expect(stdout).toMatch(/^instruction set +(amx|avx512vnni|avx512|avxvnni|avx2|baseline)$/m)
    expect(stdout).toMatch(/^precision fp32 +the default$/m)
    expect(stdout).toMatch(/^precision int8 +.*for models of `residual quantize`$/m)
    expect(stdout).toMatch(/^backend cpu +available: .*baseline$/m)
    expect(stdout).toMatch(/^backend cuda +not available: /m)
    expect(stdout).toMatch(/^model resnet50-cifar10 +.*\.safetensors$/m)
    const facts = JSON.parse((await residual(['info', '--json'])).stdout)
    expect(facts).toMatchObject({ node: process.version, models: [{ name: 'resnet50-cifar10' }] })
    expect(facts.precisions).toMatchObject([
      { precision: 'fp32', speedup: 1 },
      { precision: 'bf16' },
      { precision: 'int8' },
    ])
  })

  it('prints plans of bundled models, of files and of ResNets by name', async () => {
    expect((await residual(['info', '--plan', 'resnet50'])).stdout).toMatch(
      /resnet50: 58 operations, 8\.\d+ GFLOP/,
    )
    expect((await residual(['info', '--plan', 'resnet18', '--size', '64'])).stdout).toMatch(/64x64x3/)
    expect((await residual(['info', '--plan', 'resnet50-cifar10'])).stdout).toMatch(
      /fc +linear +1x1x512 +1x1x10/,
    )
    const { code, stderr } = await residual(['info', '--plan', 'resnet7'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/MODEL_NOT_FOUND/)
  })
})

it('prints its version and help', async () => {
  const { version } = JSON.parse(await readFile(join(packageRoot, 'package.json'), 'utf8'))
  expect((await residual(['--version'])).stdout.trim()).toBe(version)
  expect((await residual(['--help'])).stdout).toMatch(/classify.*info/s)
})
