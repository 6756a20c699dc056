import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  createSession,
  fromTensors,
  initialise,
  load,
  lower,
  type NamedTensor,
  openCheckpoint,
  openModel,
  parametersOf,
  type ResNetOptions,
  resnet,
  saveModel,
  writeSafetensors,
} from '../../../lib/index.ts'
import { storedOf } from '../../../lib/weights/stored-source.ts'
import { seeded, temporaryFolder } from '../../support/files.ts'
import { relativeError } from '../../support/golden.ts'
import {
  caffe,
  caffeConverted,
  keras,
  keras1,
  kerasUntil2018,
  lively,
  openMMLab,
  paddleClas,
  paddleClasBlocks,
  paddleClasBlocksVd,
  paddleClasNext,
  paddleClasNextVd,
  paddleClasVd,
  paddleDygraph,
  paddleDygraphCaffe,
  paddleDygraphVc,
  paddleDygraphVd,
  paddleVision,
  paddleWsl,
  prefixed,
  type Rename,
  transformers,
} from '../../support/schemes.ts'

const folder = temporaryFolder()
const session = { device: 'cpu', threads: 1, exact: true, maxBatch: 1 } as const
const side = 40
const normal = { steps: [{ crop: { height: side, width: side } }] }
const random = seeded(3)
const image = Float32Array.from({ length: side * side * 3 }, () => random() * 4 - 2) // [1,H,W,3], normalised
const small = { width: 0.125, classes: 5 }

async function makeNetwork(architecture: ResNetOptions): Promise<NamedTensor[]> {
  const network = resnet(architecture)
  return lively(network, initialise(parametersOf(network), 7))
}

async function logitsOf(architecture: ResNetOptions, tensors: readonly NamedTensor[]): Promise<Float32Array> {
  const plan = lower(resnet(architecture), { height: side, width: side, mean: [0, 0, 0], std: [1, 1, 1] })
  await using made = await createSession(plan, fromTensors(new Map(tensors.map(t => [t.name, t]))), session)
  return (await made.run(image, { outputs: ['logits'] })).logits
}

const paths = (() => {
  let count = 0
  return () => join(folder, `${count++}.safetensors`)
})()

async function write(tensors: readonly NamedTensor[], rename: Rename): Promise<string> {
  const path = paths()
  await writeSafetensors(path, tensors.flatMap(rename))
  return path
}

/** Writes a network of these options, and expects the scheme and the architecture to be found in its file. */
async function written(scheme: string, options: ResNetOptions, rename: Rename) {
  const tensors = await makeNetwork(options)
  const path = await write(tensors, rename)
  await using model = await openModel(path)
  expect(model.scheme.name).toBe(scheme)
  expect(model.architecture).toMatchObject(options)
  return { tensors, path }
}

async function loadedLogits(path: string): Promise<Float32Array> {
  await using classifier = await load(path, { ...session, preprocessing: normal })
  return (await classifier.run(image, { outputs: ['logits'] })).logits
}

const v1 = { stride: 'v1' } as const
const cases: [string, string, Rename, Partial<ResNetOptions>][] = [
  ['torchvision', 'torchvision', tensor => [tensor], {}],
  ['transformers', 'transformers', transformers, {}],
  ['paddle.vision', 'paddle.vision', paddleVision, {}],
  ['Paddle dygraph', 'Paddle dygraph', paddleDygraph, {}],
  [
    "Paddle dygraph with Caffe's blocks",
    "Paddle dygraph, Caffe's blocks",
    paddleDygraphCaffe(/*many=*/ false),
    {},
  ],
  [
    "Paddle dygraph with Caffe's blocks, by number",
    "Paddle dygraph, Caffe's blocks",
    paddleDygraphCaffe(/*many=*/ true),
    {},
  ],
  ["PaddleClas' ResNeXt101 WSL", 'PaddleClas, WSL', paddleWsl, {}],
  ['PaddleClas', 'PaddleClas', paddleClas, {}],
  ["PaddleClas' ResNeXts", 'PaddleClas, ResNeXt', paddleClasNext, {}],
  ['OpenMMLab', 'OpenMMLab', openMMLab, {}],
  ['Keras', 'Keras', keras, { ...v1, epsilon: 1.001e-5 }],
  ['Keras until 2018', 'Keras until 2018', kerasUntil2018, { ...v1, epsilon: 1e-3 }],
  ['Keras 1', 'Keras 1', keras1, { ...v1, epsilon: 1e-3 }],
  ['Caffe', 'Caffe', caffe(/*many=*/ false), v1],
  ['Caffe, blocks counted by number', 'Caffe', caffe(/*many=*/ true), v1],
  ['Caffe, converted', 'Caffe, converted', caffeConverted, v1],
]

describe.each(cases)('a file with the names of %s', (_, scheme, rename, architecture) => {
  it.each([18, 50])('gives the logits of the same ResNet-%d under our names', async layers => {
    const options = { layers, ...small, ...architecture }
    const { tensors, path } = await written(scheme, options, rename)
    const expected = await logitsOf(options, tensors)
    const found = await loadedLogits(path)
    if (!scheme.startsWith('Keras')) return expect(found).toEqual(expected)
    // Its means are sums, which are rounded.
    expect(relativeError(found, expected)).toBeLessThan(1e-6)
  })
})

describe('a file of PaddleClas since 2.2', () => {
  it.each([
    [18, [2, 2, 2, 2], true],
    [34, [3, 4, 6, 3], true],
    [34, [3, 4, 6, 3], false],
    [50, [3, 4, 6, 3], false],
    [101, [3, 4, 23, 3], false],
  ] as const)(
    'gives the logits of the same ResNet-%d under our names: blocks %j',
    async (layers, blocks, first) => {
      const options = { layers, ...small, ...(first && { projectFirst: true }) }
      const { tensors, path } = await written('PaddleClas 2.2', options, paddleClasBlocks(blocks))
      expect(await loadedLogits(path)).toEqual(await logitsOf(options, tensors))
    },
  )

  it('says what is missing where a stage cannot be told from the one before', async () => {
    const path = await write(await makeNetwork({ layers: 50, ...small }), tensor =>
      tensor.name.startsWith('layer2.0.downsample') ? [] : paddleClasBlocks([3, 4, 6, 3])(tensor),
    )
    await expect(openModel(path)).rejects.toMatchObject({
      code: 'CHECKPOINT_MISMATCH',
      message: expect.stringContaining('it has stages of 7-6-3-0 bottleneck blocks'),
    })
  })
})

describe('a ResNet-D', () => {
  const d = { deepStem: [4, 6], averagedShortcut: true } as const
  const even = { height: 64, width: 64 }
  const plan = (architecture: ResNetOptions) =>
    lower(resnet(architecture), { ...even, mean: [0, 0, 0], std: [1, 1, 1] })
  const inputs = Float32Array.from({ length: 64 * 64 * 3 }, () => random() * 4 - 2)
  const ofFile = async (path: string) => {
    await using classifier = await load(path, { ...session, preprocessing: { steps: [{ crop: even }] } })
    return (await classifier.run(inputs, { outputs: ['logits'] })).logits
  }

  it.each([
    ['timm, ResNet-D', 50, tensor => [tensor], d],
    ['timm, ResNet-D', 18, prefixed('module.'), d],
    ['timm, deep stem', 50, tensor => [tensor], { deepStem: [4, 6] }],
    ['Paddle dygraph, vd', 50, paddleDygraphVd, d],
    ['Paddle dygraph, vd', 18, paddleDygraphVd, { ...d, projectFirst: true }],
    ['PaddleClas, vd', 50, paddleClasVd, d],
    ['PaddleClas, ResNeXt vd', 50, paddleClasNextVd, { ...d, groups: 8, widthPerGroup: 8 }],
    ['PaddleClas 2.2, vd', 34, paddleClasBlocksVd([3, 4, 6, 3]), { ...d, projectFirst: true }],
    ['PaddleClas 2.2, vd', 50, paddleClasBlocksVd([3, 4, 6, 3]), d],
  ] as [string, number, Rename, Partial<ResNetOptions>][])(
    'with the names of %s, of %d layers, gives the logits of the same under our names',
    async (scheme, layers, rename, architecture) => {
      const options = { layers, ...small, ...architecture }
      const { tensors, path } = await written(scheme, options, rename)
      const source = fromTensors(new Map(tensors.map(t => [t.name, t])))
      await using made = await createSession(plan(options), source, session)
      expect(await ofFile(path)).toEqual((await made.run(inputs, { outputs: ['logits'] })).logits)
    },
  )

  it.each([18, 50])(
    'may be said to be a ResNet-C, of %d layers, where the names are the same for both: PaddleClas',
    async layers => {
      const options = {
        layers,
        ...small,
        deepStem: [4, 6],
        ...(layers === 18 && { projectFirst: true }),
      } as const
      const tensors = await makeNetwork(options)
      const path = await write(tensors, paddleDygraphVc)
      await using classifier = await load(path, {
        ...session,
        architecture: { averagedShortcut: false },
        preprocessing: normal, // of a size that a ResNet-D could not take
      })
      const { logits } = await classifier.run(image, { outputs: ['logits'] })
      expect(logits).toEqual(await logitsOf(options, tensors))
    },
  )

  it.each([false, true])('is saved and loaded again, folded %s', async folded => {
    for (const architecture of [d, { deepStem: [4, 6] }, { averagedShortcut: true }] as const) {
      const path = await write(await makeNetwork({ layers: 50, ...small, ...architecture }), each => [each])
      const saved = paths()
      await using model = await openModel(path)
      await saveModel(saved, model, { folded })
      const [expected, found] = [await ofFile(path), await ofFile(saved)]
      expect(relativeError(found, expected)).toBeLessThanOrEqual(folded ? 1e-6 : 0)
    }
  })

  it('says which images it cannot take', async () => {
    const path = await write(await makeNetwork({ layers: 18, ...small, ...d }), each => [each])
    const options = { ...session, preprocessing: { steps: [{ crop: { height: 64, width: 72 } }] } }
    await expect(load(path, options)).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringMatching(
        /cannot take images of 64x72: Expected a height and a width that are multiples of 2 .*layer3.0.downsample.1/,
      ),
    })
  })
})

it('a first block that has a projection though it needs none is found in other schemes too', async () => {
  const options = { layers: 18, ...small, projectFirst: true }
  const tensors = await makeNetwork(options)
  const path = await write(tensors, paddleDygraph)
  await using model = await openModel(path)
  expect(model.architecture).toMatchObject(options)
  expect(await loadedLogits(path)).toEqual(await logitsOf(options, tensors))
})

describe('an architecture', () => {
  it.each([
    { layers: 50, groups: 8, widthPerGroup: 8 },
    { layers: 50, widthPerGroup: 128 },
    { layers: 34 },
    { layers: 101 },
  ])('of %o is found under other names too', async options => {
    const tensors = await makeNetwork({ ...options, ...small })
    await using model = await openModel(await write(tensors, transformers))
    expect(model.architecture).toMatchObject({ ...options, ...small })
  })

  it('may be told where the file does not tell it', async () => {
    const tensors = await makeNetwork({ layers: 50, ...small })
    const path = await write(tensors, tensor => [tensor])
    await using model = await openModel(path, { architecture: { stride: 'v1', epsilon: 1e-3 } })
    expect(model.architecture).toMatchObject({ layers: 50, ...small, stride: 'v1', epsilon: 1e-3 })
    await expect(openModel(path, { architecture: { layers: 34, ...small } })).rejects.toMatchObject({
      code: 'CHECKPOINT_MISMATCH',
    })
    await expect(openModel(path, { architecture: { epsilon: -1 } })).rejects.toMatchObject({
      code: 'CHECKPOINT_MISMATCH',
    })
  })
})

describe('a classifier of somebody', () => {
  const named =
    (rename: Rename, from: string, to: string): Rename =>
    tensor =>
      rename(tensor).map(made => ({ ...made, name: made.name.replace(from, to) }))

  it.each([
    ['torchvision', named(tensor => [tensor], 'fc.', 'fc.1.'), {}],
    ['torchvision', named(prefixed('model.'), 'model.fc.', 'model.head.'), {}],
    ['transformers', named(transformers, 'classifier.1', 'classifier.3'), {}],
    ['Keras', named(keras, 'predictions/', 'dense_1/'), { ...v1, epsilon: 1.001e-5 }],
  ] as [string, Rename, Partial<ResNetOptions>][])(
    'is found under another name, among names of %s',
    async (scheme, rename, architecture) => {
      const options = { layers: 50, ...small, ...architecture }
      const tensors = await makeNetwork(options)
      const path = await write(tensors, rename)
      await using model = await openModel(path)
      expect(model.scheme.name).toBe(scheme)
      const [expected, found] = [await logitsOf(options, tensors), await loadedLogits(path)]
      expect(relativeError(found, expected)).toBeLessThan(1e-6)
    },
  )

  it('is not guessed at where there are several linear layers', async () => {
    const path = await write(await makeNetwork({ layers: 18, ...small }), tensor =>
      tensor.name.startsWith('fc.')
        ? ['fc.0', 'fc.2'].map(layer => ({ ...tensor, name: tensor.name.replace('fc', layer) }))
        : [tensor],
    )
    await expect(openModel(path)).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH' })
  })
})

describe('a prefix', () => {
  it.each(['module.', 'state_dict.module.', 'model.', 'model_ema.module.', 'a/b.c.'])(
    'such as %s is seen through, and what is beside it left alone',
    async prefix => {
      const tensors = await makeNetwork({ layers: 18, ...small })
      const other = { name: 'optimizer.state.0.momentum', shape: [1], data: new Float32Array(1) }
      const path = await write([...tensors, other], tensor =>
        tensor === other ? [other] : prefixed(prefix)(tensor),
      )
      await using model = await openModel(path)
      expect(model.prefix).toBe(prefix)
      expect([...model.weights.names()]).toEqual(tensors.map(({ name }) => name))
    },
  )

  it('of averaged weights is preferred', async () => {
    const tensors = await makeNetwork({ layers: 18, ...small })
    const path = await write(tensors, tensor => [
      ...prefixed('model.')(tensor),
      ...prefixed('model_ema.module.')(tensor),
    ])
    await using model = await openModel(path)
    expect(model.prefix).toBe('model_ema.module.')
  })

  it('leaves what is read as it is to the addon', async () => {
    const tensors = await makeNetwork({ layers: 18, ...small })
    const stored = async (rename: Rename) => {
      await using model = await openModel(await write(tensors, rename))
      const { locate } = storedOf(model.weights)!
      return tensors.filter(({ name }) => locate(name)?.layout !== 'KCRS').map(({ name }) => name)
    }
    expect(await stored(prefixed('module.'))).toEqual([])
    expect(await stored(transformers)).toEqual([])
    expect(await stored(paddleVision)).toEqual(['fc.weight'])
  })
})

describe('what is refused', () => {
  const refusal = async (change: Rename, layers = 50): Promise<string> => {
    const path = await write(await makeNetwork({ layers, ...small }), change)
    const error = await openModel(path).catch(e => e)
    expect(error).toMatchObject({ name: 'ResidualError', code: 'CHECKPOINT_MISMATCH' })
    return error.message
  }
  const alsoAt =
    (at: string, name: string, shape: number[] = [1]): Rename =>
    tensor =>
      tensor.name === at
        ? [tensor, { name, shape, data: new Float32Array(shape.reduce((a, b) => a * b)) }]
        : [tensor]

  it.each([
    ['layer1.0.se.fc1.weight', 'attention in its blocks'],
    ['layer1.0.conv2.fc1.weight', 'a ResNeSt'],
    ['layer1.0.conv1.paths.0.conv.weight', 'an SK-ResNet'],
    ['layer1.0.conv2.attn.fc_reduce.weight', 'an SK-ResNet'],
    ['body.layer1.0.conv1.conv.weight', 'a TResNet'],
    ['stage2.0.branches.0.0.conv1.weight', 'an HRNet'],
    ['stem.conv.gain', 'NF-ResNet'],
    ['maxpool.0.weight', 'a ResNet-RS'],
    ['backbone.stem.0.weight', "a ResNet-C or -D with OpenMMLab's names"],
    ['attnpool.positional_embedding', 'a ResNet of CLIP'],
    ['layer1.0.convs.0.weight', 'a Res2Net'],
    ['conv2_block1_preact_bn/gamma', 'a ResNet v2'],
    ['fc_res2a_sqz_weights', 'attention in its blocks'],
  ])('is called by its name: %s', async (name, what) => {
    const message = await refusal(alsoAt('conv1.weight', name))
    expect(message).toContain(what)
    expect(message).toContain(name)
  })

  it.each([
    ['conv2d_0.w_0_velocity_0', 'the state of a PaddlePaddle optimizer', 'in the .pdparams file next to it.'],
    ['batch_norm2d_3.b_0_beta1_pow_acc_0', 'the state of a PaddlePaddle optimizer', 'next to it.'],
    ['master_weights.linear_0.w_0', 'the state of a PaddlePaddle optimizer', 'next to it.'],
    ['state.12.exp_avg', 'the state of an optimizer', 'the weights are in another file.'],
    [
      'batch_norm_7.w_2',
      'parameters with names generated by PaddlePaddle',
      "paddle.save(model.state_dict(), 'model.pdparams').",
    ],
  ])('is no network, by what it is and what to do: %s', async (name, what, remedy) => {
    const only: Rename = tensor => (tensor.name === 'conv1.weight' ? [{ ...tensor, name }] : [])
    const message = await refusal(only)
    expect(message).toContain(`holds ${what}`)
    expect(message).toContain(`'${name}' shows: `)
    expect(message).toContain(remedy)
    // Beside other tensors it tells nothing.
    const beside = await refusal(tensor => [...only(tensor), ...(tensor.name === 'fc.bias' ? [tensor] : [])])
    expect(beside).not.toContain(what)
  })

  it('is called by what it is, not by what it has besides', async () => {
    const rs: Rename = tensor => [
      ...alsoAt('conv1.weight', 'layer1.0.se.fc1.weight')(tensor),
      ...(tensor.name === 'conv1.weight' ? [{ ...tensor, name: 'maxpool.0.weight' }] : []),
    ]
    expect(await refusal(rs)).toContain('a ResNet-RS')
    const groupNorms = await refusal(tensor => (tensor.name.includes('running') ? [] : [tensor]))
    expect(groupNorms).toContain('a ResNet with group norms')
  })

  it('says which tensors are missing, by both names', async () => {
    const message = await refusal(tensor =>
      tensor.name === 'layer1.0.bn1.running_var' ? [] : transformers(tensor),
    )
    expect(message).toContain(
      '1 missing (layer1.0.bn1.running_var (in the file: resnet.encoder.stages.0.layers.0.',
    )
  })

  it('says which shapes were found and which expected', async () => {
    const message = await refusal(tensor =>
      tensor.name === 'conv1.weight'
        ? [{ ...tensor, shape: [8, 3, 3, 3], data: new Float32Array(216) }]
        : [tensor],
    )
    expect(message).toContain('conv1.weight [8,3,3,3] instead of [8,3,7,7]')
  })

  it('says that there is no classifier', async () => {
    const message = await refusal(tensor => (tensor.name.startsWith('fc') ? [] : transformers(tensor)))
    expect(message).toContain('it has no classifier.1.weight')
  })

  it('lists what a file holds that is no ResNet', async () => {
    const message = await refusal(tensor =>
      tensor.name === 'fc.bias' ? [{ ...tensor, name: 'x'.repeat(500) }] : [],
    )
    expect(message).toContain('it has 1 tensors, such as xxx')
    expect(message.length).toBeLessThan(600)
  })

  it('is a bias of another length than what it is added to', async () => {
    const tensors = await makeNetwork({ layers: 50, ...small })
    const path = await write(tensors, tensor =>
      keras(tensor).map(made =>
        made.name === 'conv1_conv/bias' ? { ...made, shape: [3], data: new Float32Array(3) } : made,
      ),
    )
    await expect(load(path, session)).rejects.toMatchObject({
      code: 'CHECKPOINT_MISMATCH',
      message: expect.stringContaining("'conv1_conv/bias'"),
    })
  })
})

describe('openCheckpoint', () => {
  it('goes by the bytes, not by the name', async () => {
    const path = join(folder, 'weights.pth')
    await writeSafetensors(path, [{ name: 'a', shape: [1], data: new Float32Array([2]) }])
    await using file = await openCheckpoint(path)
    expect(file.format).toBe('safetensors')
    expect(await file.read('a')).toEqual(new Float32Array([2]))
  })

  it('says what it cannot open', async () => {
    await expect(openCheckpoint(join(folder, 'none'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    await expect(openCheckpoint(folder)).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    const { message } = await openCheckpoint(join(import.meta.dirname, 'schemes.test.ts')).catch(e => e)
    expect(message).toContain('it begins with the bytes 696d706f7274')
  })
})
