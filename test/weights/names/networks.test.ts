import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  initialise,
  load,
  type NamedTensor,
  openModel,
  parametersOf,
  resnet,
  writeSafetensors,
} from '../../../lib/index.ts'
import { residual } from '../../support/command-line.ts'
import { temporaryFolder } from '../../support/files.ts'
import { openMMLab } from '../../support/schemes.ts'

const folder = temporaryFolder()
let files = 0

async function network(seed = 1, classes = 3): Promise<NamedTensor[]> {
  const parameters = parametersOf(resnet({ layers: 18, classes, width: 1 / 16 }))
  const source = initialise(parameters, seed)
  return Promise.all(
    parameters.map(async ({ name, shape }) => ({ name, shape, data: await source.read(name) })),
  )
}

const behind = (prefix: string, tensors: readonly NamedTensor[]) =>
  tensors.map(tensor => ({ ...tensor, name: prefix + tensor.name }))

async function write(...tensors: readonly NamedTensor[]): Promise<string> {
  const path = join(folder, `${files++}.safetensors`)
  await writeSafetensors(path, tensors)
  return path
}

const tensor = (name: string, ...shape: number[]) => ({
  name,
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.5),
})
const mismatch = (...texts: string[]) => ({
  code: 'CHECKPOINT_MISMATCH',
  message: expect.stringMatching(new RegExp(texts.join('.*'))),
})

describe('several networks in a file', () => {
  it.each([
    ['teacher and student', 'student.', 'teacher.'],
    ['an ensemble', 'models.0.', 'models.1.'],
    ['a query and a momentum encoder', 'module.encoder_q.', 'module.encoder_k.'],
  ])('are listed, and one is taken by its prefix: %s', async (_, first, second) => {
    const [one, two] = [await network(1), await network(2)]
    const path = await write(...behind(first, one), ...behind(second, two))
    await expect(openModel(path)).rejects.toMatchObject(
      mismatch('holds 2 networks', first, second, '--prefix'),
    )
    await expect(openModel(path, { prefix: 'other' })).rejects.toMatchObject(
      mismatch("no network with the prefix 'other'", first, second),
    )
    for (const [prefix, wanted] of [
      [first, one],
      [second.slice(0, -1), two],
    ] as const) {
      await using model = await openModel(path, { prefix })
      expect(await model.weights.read('conv1.weight')).toEqual(wanted[0]!.data)
    }
  })

  it('may have the names of different frameworks', async () => {
    const path = await write(...behind('a.', await network()), ...(await network()).flatMap(openMMLab))
    await expect(openModel(path)).rejects.toMatchObject(mismatch('holds 2 networks'))
    await using model = await openModel(path, { prefix: 'a' })
    expect([model.prefix, model.scheme.name]).toEqual(['a.', 'torchvision'])
  })

  it('are three where one of them is averaged, so that nothing says which', async () => {
    const prefixes = ['student.', 'teacher.', 'ema.']
    const tensors = await network()
    const path = await write(...prefixes.flatMap(prefix => behind(prefix, tensors)))
    await expect(openModel(path)).rejects.toMatchObject(mismatch('holds 3 networks'))
  })
})

describe('tensors outside of the network', () => {
  it.each<[string, NamedTensor[]]>([
    ['a head of its own', [tensor('head.weight', 4, 3), tensor('head.bias', 4)]],
    ["a wrapper's normalisation", [tensor('mean', 1, 3, 1, 1), tensor('std', 1, 3, 1, 1)]],
    ['a neck', [tensor('neck.0.weight', 8, 8)]],
  ])('are refused by their names, and left alone where a prefix is given: %s', async (_, more) => {
    const path = await write(...behind('backbone.', await network()), ...more)
    await expect(openModel(path)).rejects.toMatchObject(
      mismatch("more than the network behind 'backbone.'", more[0]!.name, '--prefix backbone '),
    )
    await using model = await openModel(path, { prefix: 'backbone' })
    expect(model.prefix).toBe('backbone.')
  })

  it('say what to do where they are a normalisation', async () => {
    const path = await write(...behind('model.', await network()), tensor('mean', 3), tensor('std', 3))
    await expect(openModel(path)).rejects.toMatchObject(mismatch('--mean and --std'))
  })

  it.each([
    'optimizer.state.0.exp_avg',
    'optimizer_states.0.state.3.momentum_buffer',
    'scaler.scale',
    'rng_state',
    'cuda_rng_state.0',
    'criterion.weight',
    'state_dict.criterion.weight',
    'ema.shadow_params.3',
    'lr_schedulers.0.base',
  ])('that a training leaves do not matter: %s', async name => {
    const path = await write(...behind('state_dict.', await network()), tensor(name, 5))
    await using model = await openModel(path)
    expect(model.prefix).toBe('state_dict.')
  })

  it('that a training leaves do not matter beside a network without a prefix either', async () => {
    const path = await write(...(await network()), tensor('optimizer.state.0.exp_avg', 5))
    await using model = await openModel(path)
    expect(model.prefix).toBe('')
  })
})

it('the prefix can be given on the command line and in the record', async () => {
  const labels = ['a', 'b', 'c']
  const path = await write(...behind('teacher.', await network(1)), ...behind('student.', await network(2)))
  const { stdout } = await residual(folder, ['inspect', path, '--prefix', 'student'])
  expect(stdout).toMatch(/^scheme +torchvision, prefix student\.$/m)
  await using classifier = await load(path, { prefix: 'teacher', labels, device: 'cpu' })
  expect(classifier.labels).toEqual(labels)
  const record = path.replace('.safetensors', '.json')
  writeFileSync(record, JSON.stringify({ prefix: 'student' }))
  await using model = await openModel(path)
  expect(model.prefix).toBe('student.')
  writeFileSync(record, JSON.stringify({ prefix: 7 }))
  await expect(openModel(path)).rejects.toMatchObject({ code: 'MODEL_INVALID' })
})
