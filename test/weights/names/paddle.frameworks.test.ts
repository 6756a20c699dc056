import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../../lib/base/package-root.ts'
import { type LoadOptions, load, openSafetensors } from '../../../lib/index.ts'
import { temporaryFolder } from '../../support/files.ts'
import { relativeError } from '../../support/golden.ts'
import { python } from '../../support/python.ts'

const script = join(packageRoot, 'test', 'support', 'paddle_cases.py')
const folder = temporaryFolder()

/** As the script wants it, and what it does not look at. */
interface Case {
  readonly name: string
  readonly network: 'tutorial' | 'vision' | 'clas'
  readonly options: { readonly [name: string]: unknown }
  readonly dtype?: string
  readonly images: readonly (readonly [height: number, width: number])[]
  readonly forms: readonly string[]
  /** What no tensor tells. */
  readonly architecture?: LoadOptions['architecture']
}

const odd = [65, 97] as const
const narrow = [33, 64] as const
const even = [64, 96] as const // which ResNet-D takes

function tutorial(
  layers: number,
  class_dim: number,
  forms: readonly string[],
  images: Case['images'] = [odd],
): Case {
  const name = `ResNet(${layers}, ${class_dim})`
  return { name, network: 'tutorial', options: { layers, class_dim }, images, forms }
}

const vision = (name: string, images: Case['images'] = [odd]): Case => ({
  ...{ name, network: 'vision', options: { name, classes: 7 } },
  ...{ images, forms: ['protocol4'] },
})

function clas(
  style: 'bb' | 'res' | 'blocks' | 'wsl',
  layers: number,
  options: Case['options'] = {},
  more: Partial<Case> = {},
): Case {
  const name = [style, layers, ...Object.values(options)].join(' ')
  return {
    ...{ name, network: 'clas', options: { style, layers, classes: 5, ...options } },
    ...{ images: [options.version === 'vd' ? even : narrow], forms: ['protocol4'] },
    ...more,
  }
}

const named = { parameters: true }
const vd = { version: 'vd' }

/** One Python makes the cases of a group. */
const groups: Readonly<Record<string, readonly Case[]>> = {
  "Paddle's tutorial, 50 layers": [
    tutorial(50, 1, ['protocol3']),
    tutorial(
      50,
      2,
      ['protocol4', 'protocol2', 'protocol3', 'protocol5', 'slices', 'wrapped', 'safetensors'],
      [odd, narrow, [224, 224]],
    ),
    tutorial(50, 1000, ['protocol2'], [narrow]),
    { ...tutorial(50, 2, ['protocol4']), name: 'bfloat16', dtype: 'bfloat16' },
    { ...tutorial(50, 2, ['protocol2', 'wrapped']), name: 'float16', dtype: 'float16' },
  ],
  "Paddle's tutorial, 101 layers": [
    tutorial(101, 1, ['protocol4'], [narrow]),
    tutorial(101, 2, ['protocol2']),
    tutorial(101, 1000, ['protocol3'], [narrow]),
  ],
  "Paddle's tutorial, 152 layers": [
    tutorial(152, 1000, ['protocol2'], [odd]),
    tutorial(152, 2, ['protocol4'], [narrow]),
    tutorial(152, 1, ['protocol3']),
  ],
  'paddle.vision': [
    vision('resnet18'),
    vision('resnet34', [narrow]),
    vision('resnet50'),
    vision('resnet101', [narrow]),
    vision('resnet152', [narrow]),
    vision('resnext50_32x4d'),
    vision('resnext50_64x4d', [narrow]),
    vision('resnext101_32x4d', [narrow]),
    vision('wide_resnet50_2'),
    vision('wide_resnet101_2', [narrow]),
  ],
  'PaddleClas of 2020': [
    clas('bb', 18),
    clas('res', 34),
    clas('res', 101),
    clas('bb', 50, { groups: 32 }),
    clas('wsl', 50, { groups: 32, group_width: 8 }),
    clas('bb', 18, vd),
    clas('bb', 50, vd),
    clas('bb', 50, { ...vd, groups: 64 }),
    clas('bb', 50, { version: 'vc' }, { architecture: { averagedShortcut: false } }),
  ],
  'PaddleClas since 2.2': [
    clas('blocks', 18),
    clas('blocks', 18, { project_first: false }),
    clas('blocks', 34),
    clas('blocks', 50),
    clas('blocks', 101),
    clas('blocks', 18, vd),
    clas('blocks', 101, vd),
  ],
  "PaddleClas' static graphs": [
    clas('bb', 18, named, { forms: ['static', 'program', 'wrapped-program'] }),
    clas('bb', 101, named, { forms: ['static'] }),
    clas('bb', 50, { ...named, groups: 32 }, { forms: ['static'] }),
    clas('bb', 34, { ...named, ...vd }, { forms: ['static'] }),
    clas('bb', 50, { ...named, ...vd, groups: 32 }, { forms: ['program'] }),
  ],
}

const run = { timeout: 300_000 }
describe.each(Object.entries(groups))('%s', (_, cases) => {
  it('gives the logits that Paddle computes', run, async () => {
    const { status, stdout, stderr } = spawnSync(
      python,
      ['-W', 'ignore', script, folder, JSON.stringify(cases)],
      { encoding: 'utf8' },
    )
    expect(status, stdout + stderr).toBe(0)
    let compared = 0
    for (const { name, forms, images, architecture } of cases) {
      await using io = await openSafetensors(join(folder, `${name}.io.safetensors`))
      for (const [f, form] of forms.entries())
        for (const [i, [height, width]] of images.entries()) {
          if (f > 0 && i > 0) continue // one form on every image, every form on one
          const difference = await differenceOf(`${name}.${form}`, i, { height, width }, io, architecture)
          console.log(
            `${name}, ${form}, ${height}x${width}: ${difference.toExponential(1)} of the logits' norm`,
          )
          expect.soft(difference, `${name}, ${form}, ${height}x${width}`).toBeLessThan(1e-5)
          compared++
        }
    }
    expect(compared).toBeGreaterThanOrEqual(cases.length)
    rmSync(folder, { recursive: true })
    mkdirSync(folder)
  })
})

async function differenceOf(
  file: string,
  i: number,
  crop: { height: number; width: number },
  io: Awaited<ReturnType<typeof openSafetensors>>,
  architecture: LoadOptions['architecture'],
): Promise<number> {
  await using classifier = await load(join(folder, `${file}.pdparams`), {
    ...{ device: 'cpu', threads: 2, maxBatch: 1 },
    ...(architecture && { architecture }),
    preprocessing: { steps: [{ crop }] },
  })
  const { logits } = await classifier.run(await io.read(`image ${i}`), { outputs: ['logits'] })
  return relativeError(logits, await io.read(`logits ${i}`))
}
