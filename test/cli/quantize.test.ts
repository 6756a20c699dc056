import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { noiseSvg } from '../../lib/quantize/noise-chart.ts'
import type { QuantizeReport } from '../../lib/quantize/report.ts'
import { reportMarkdown, reportText, unreadableLines } from '../../lib/quantize/report-text.ts'
import { checkReportPath, plainReport, writeReport } from '../../lib/quantize/write-report.ts'
import { residual } from '../support/command-line.ts'
import { temporaryFolder } from '../support/files.ts'
import { noise } from '../support/images.ts'

const folder = temporaryFolder()
const labels = ['airplane', 'automobile', 'deer', 'frog', 'ship', 'truck']

/** The samples, each with some noise, in folders named by class. */
beforeAll(async () => {
  for (const label of labels) {
    mkdirSync(join(folder, 'photos', label), { recursive: true })
    for (let i = 0; i < 4; i++) {
      const sample = await sharp(join(packageRoot, 'samples', `${label}.jpg`))
        .resize(64, 64)
        .removeAlpha()
        .raw()
        .toBuffer()
      const { data } = noise(64, 64, i + 1)
      const noisy = Buffer.from(sample.map((x, at) => x * 0.9 + data[at]! * 0.1))
      await sharp(noisy, { raw: { height: 64, width: 64, channels: 3 } })
        .png()
        .toFile(join(folder, 'photos', label, `${i}.png`))
    }
  }
})

const run = (...args: string[]) => residual(folder, ['quantize', 'resnet50-cifar10', ...args])

describe('residual quantize', () => {
  it('writes a model and a report, and prints what matters', async () => {
    writeFileSync(join(folder, 'photos', 'frog', 'broken.jpg'), 'no image')
    const { code, stdout, stderr } = await run(
      '--images',
      'photos',
      '-o',
      'out.safetensors',
      '--samples',
      '8',
    )
    expect(stderr).toContain('residual: calibrating (8)')
    expect(stderr).toMatch(/1 image was left out:\n.*broken\.jpg/)
    expect(stdout).toMatch(/agreement\s+\d+ of 16 keep their class/)
    expect(stdout).toMatch(/accuracy\s+\d+ of 16 right/)
    expect(stdout).toMatch(/speed\s+batch 1: [\d.]+ ms/)
    expect(stdout).toContain('Wrote out.safetensors and out.report.html.')
    expect(code).toBe(0)
    expect(readFileSync(join(folder, 'out.report.html'), 'utf8')).toMatch(
      /<svg[\s\S]*layer4\.2\.conv3[\s\S]*<\/svg>/,
    )
    expect(JSON.parse(readFileSync(join(folder, 'out.json'), 'utf8')).labels).toContain('ship')

    const ship = join(packageRoot, 'samples', 'ship.jpg')
    const classified = await residual(folder, ['classify', ship, '--model', 'out.safetensors', '--json'])
    expect(JSON.parse(classified.stdout)[0].predictions[0].label).toBe('ship')
  })

  it('prints JSON, and warns of too few images', async () => {
    const args = [
      '--images',
      'photos/deer',
      '-o',
      'few.safetensors',
      '--report',
      'few.report.json',
      '--json',
      '--method',
      'max',
    ]
    const { code, stdout, stderr } = await run(...args)
    expect(code).toBe(0)
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ method: 'max', images: { asked: 256, calibrated: 2, compared: 2 } })
    expect(report.accuracy).toBeUndefined()
    expect(JSON.parse(readFileSync(join(folder, 'few.report.json'), 'utf8'))).toEqual(report)
    expect(stderr).toContain('too few images for 256 samples')
    expect(stderr).toContain("not named by the model's classes")
  })

  it.each([
    [
      'a folder that does not exist',
      ['--images', 'nowhere', '-o', 'x.safetensors'],
      /nowhere does not exist.*FILE_NOT_FOUND/,
    ],
    ['a file', ['--images', 'out.safetensors', '-o', 'x.safetensors'], /is not a folder/],
    ['an empty folder', ['--images', 'empty', '-o', 'x.safetensors'], /No images found at empty/],
    ['an output of another kind', ['--images', 'photos', '-o', 'x.onnx'], /ends in '.safetensors'/],
    ['an output in no folder', ['--images', 'photos', '-o', 'no/x.safetensors'], /FILE_WRITE_FAILED/],
    [
      'a report of another kind',
      ['--images', 'photos', '-o', 'x.safetensors', '--report', 'x.pdf'],
      /\.html, \.md or \.json/,
    ],
    [
      'a report in the place of the record',
      ['--images', 'photos', '-o', 'x.safetensors', '--report', './x.json'],
      /another name than that of the model's record/,
    ],
    ['an agreement above 1', ['--images', 'photos', '-o', 'x.safetensors', '--agreement', '99'], /up to 1/],
    ['no output', ['--images', 'photos'], /required option/],
  ])('refuses %s', async (_, args, message) => {
    mkdirSync(join(folder, 'empty'), { recursive: true })
    const { code, stderr, stdout } = await run(...args)
    expect(stderr).toMatch(message)
    expect(stdout).toBe('')
    expect(code).toBe(1)
    expect(existsSync(join(folder, 'x.safetensors'))).toBe(false)
  })

  it('stops on Ctrl-C, and says that nothing was written', async () => {
    const args = ['quantize', 'resnet50-cifar10', '--images', 'photos', '-o', 'stopped.safetensors']
    const child = spawn(process.execPath, [join(packageRoot, 'bin', 'residual.js'), ...args], { cwd: folder })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', text => {
      if (!stderr.includes('reading weights') && `${stderr}${text}`.includes('reading weights'))
        child.kill('SIGINT')
      stderr += text
    })
    const [code] = await once(child, 'close')
    expect(stderr).toContain('residual: stopped; nothing was written')
    expect(code).toBe(130)
    expect(existsSync(join(folder, 'stopped.safetensors'))).toBe(false)
  })

  it('refuses a model that is quantized already', async () => {
    copyFileSync(join(folder, 'out.safetensors'), join(folder, 'again.safetensors'))
    copyFileSync(join(folder, 'out.json'), join(folder, 'again.json'))
    const { code, stderr } = await residual(folder, [
      'quantize',
      'again.safetensors',
      '--images',
      'photos',
      '-o',
      'x.safetensors',
    ])
    expect(stderr).toMatch(/quantized already.*MODEL_INVALID/)
    expect(code).toBe(1)
  })
})

const report: QuantizeReport = {
  model: 'models/a.safetensors',
  out: 'b.safetensors',
  method: 'entropy',
  isEqualised: true,
  isa: 'amx',
  threads: 2,
  images: {
    asked: 256,
    calibrated: 256,
    compared: 100,
    unreadable: Array.from({ length: 12 }, (_, i) => ({
      image: `${i}.jpg`,
      error: new Error(`${i}.jpg is bad.`),
    })),
  },
  agreement: { share: 0.97, wanted: 0.99, isPromised: false },
  kept: [{ name: 'layer1.0.conv1', cost: 0.02, saves: 0.1 }],
  accuracy: { images: 100, before: 80, after: 79 },
  classes: [
    { index: 0, label: 'good', images: 50, rightBefore: 40, rightAfter: 40, same: 50 },
    { index: 1, label: 'cat | <b>', images: 50, rightBefore: 40, rightAfter: 39, same: 47 },
  ],
  noise: [
    { name: 'conv1', decibels: 44.04 },
    { name: 'layer1.0.conv1', decibels: Number.POSITIVE_INFINITY },
  ],
  bytes: { before: 4 * 2 ** 20, after: 2 ** 20 },
  speed: [{ batch: 8, before: 40, after: 10 }],
}

describe('the report', () => {
  it('says as text what became of the answers', () => {
    const text = reportText(report)
    expect(text).toContain('97 of 100 keep their class: 97.00 % (wanted: 99.00 %, which is not reached)')
    expect(text).toContain('79 of 100 right: 79.00 %; in float32 80: 80.00 %')
    expect(text).toContain('1 operation in bf16, 2.00 % of the arithmetic')
    expect(text).toContain('1.0 MiB, before 4.0 MiB')
    expect(text).toContain('batch 8: 10.0 ms, in float32 40.0 ms (4.0x); amx, 2 threads')
    expect(text).not.toContain('good')
    expect(unreadableLines(report)).toHaveLength(12)
    expect(unreadableLines(report).at(-1)).toBe('and 2 more')
  })

  it('is Markdown with all tables, in which names are no markup', () => {
    const text = reportMarkdown(report, 'b.svg')
    expect(text).toContain('![Signal to noise](b.svg)')
    expect(text).toContain('| cat \\| &lt;b> | 50 | 40 | 39 | 47 |\n| good | 50')
    expect(text).toContain('| layer1.0.conv1 | 2.00 % | 10.00 % |')
    expect(text).toContain('| layer1.0.conv1 | exact |')
  })

  it('has a chart with a bar for each operation', () => {
    const svg = noiseSvg(report.noise, new Set(['layer1.0.conv1']))
    expect(svg.match(/<rect/g)).toHaveLength(3)
    expect(svg).toContain('>44.0</text>')
    expect(svg).toContain('>exact</text>')
    expect(svg).toContain('Orange: kept in bf16')
  })

  it('is written as its name says', async () => {
    for (const name of ['r.html', 'r.md', 'r.json']) await writeReport(join(folder, name), report)
    const html = readFileSync(join(folder, 'r.html'), 'utf8')
    expect(html).toContain('<td>cat | &lt;b&gt;</td>')
    expect(html).toContain('<svg')
    expect(readFileSync(join(folder, 'r.md'), 'utf8')).toBe(reportMarkdown(report, 'r.svg'))
    expect(readFileSync(join(folder, 'r.svg'), 'utf8')).toContain('<svg')
    const json = JSON.parse(readFileSync(join(folder, 'r.json'), 'utf8'))
    expect(json).toEqual(JSON.parse(JSON.stringify(plainReport(report))))
    expect(json.images.unreadable[0]).toEqual({ image: '0.jpg', error: '0.jpg is bad.' })
    expect(json.noise[1].decibels).toBeNull()
    await expect(checkReportPath(join(folder, 'r.txt'))).rejects.toThrow('.html, .md or .json')
  })
})
