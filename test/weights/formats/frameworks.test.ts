import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Checkpoint } from '../../../lib/weights/checkpoint.ts'
import { openCheckpoint } from '../../../lib/weights/formats/open.ts'
import { openPaddle } from '../../../lib/weights/formats/paddle.ts'
import { openPyTorch } from '../../../lib/weights/formats/pytorch.ts'
import { temporaryFolder } from '../../support/files.ts'
import { pythonHas, runPython } from '../../support/python.ts'

const folder = temporaryFolder()

/** Saves with torch.save in both forms, and beside it what each tensor is in float32. */
const torchScript = `
import sys, json, os, copy, collections, argparse, torch
folder = sys.argv[1]
torch.manual_seed(1)
net = torch.nn.Sequential(collections.OrderedDict(
    conv=torch.nn.Conv2d(5, 6, 3), bn=torch.nn.BatchNorm2d(6), fc=torch.nn.Linear(6, 4)))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
net.fc(net.bn(net.conv(torch.randn(2, 5, 3, 3)))[:, :, 0, 0]).sum().backward()
optimizer.step()
scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
base = torch.randn(7, 8)
last = copy.deepcopy(net).to(memory_format=torch.channels_last)
cases = {
    'state': net.state_dict(),
    'half': {k: v.half() for k, v in net.state_dict().items()},
    'bfloat16': {k: v.bfloat16() for k, v in net.state_dict().items()},
    'double': {k: v.double() for k, v in net.state_dict().items()},
    'channels_last': last.state_dict(),
    'views': {'all': base, 'transposed': base.t(), 'column': base[:, 3], 'slice': base[2:5, 1:8:2], 'flipped': base.flip(0),
        'expanded': base[:1].expand(9, 8), 'number': base[4, 4], 'none': base[:0], 'strided': base.as_strided((3, 4), (2, 3), 5)},
    'parameters': dict(net.named_parameters()),
    'types': {t: torch.arange(-3, 5).to(getattr(torch, t)) for t in
        ['float32', 'float16', 'bfloat16', 'float64', 'int64', 'int32', 'int16', 'int8', 'uint8', 'bool']},
    'training': {'epoch': 3, 'arch': 'resnet50', 'best': 76.5, 'args': argparse.Namespace(lr=0.1, sizes=[1, 2]), 'size': base.shape,
        'device': torch.device('cpu'), 'state_dict': {'module.' + k: v for k, v in net.state_dict().items()},
        'optimizer': optimizer.state_dict(), 'scheduler': scheduler.state_dict(), 'dtype': torch.float16, 'ema': [net.state_dict()]},
}
attributed = torch.nn.Parameter(base.clone()); attributed.note = 'x'
cases['attribute'] = {'w': attributed}
def leaves(value, name):
    if isinstance(value, torch.Tensor): yield name, value
    elif isinstance(value, dict):
        for k, v in value.items(): yield from leaves(v, f'{name}.{k}' if name else str(k))
    elif isinstance(value, (list, tuple)):
        for k, v in enumerate(value): yield from leaves(v, f'{name}.{k}')
report = {}
for case, value in cases.items():
    torch.save(value, os.path.join(folder, case + '.zip.pth'))
    torch.save(value, os.path.join(folder, case + '.plain.pth'), _use_new_zipfile_serialization=False)
    torch.save(value, os.path.join(folder, case + '.protocol4.pth'), pickle_protocol=4)
    tensors = []
    with open(os.path.join(folder, case + '.expected'), 'wb') as file:
        for name, tensor in leaves(value, ''):
            numbers = tensor.detach().float().contiguous()
            file.write(bytes(numbers.untyped_storage())[numbers.storage_offset() * 4:][:numbers.numel() * 4])
            tensors.append([name, list(tensor.shape), tensor.is_floating_point()])
    report[case] = tensors
class Net(torch.nn.Module): pass
torch.save(Net(), os.path.join(folder, 'model.pth'))
torch.save(torch.quantize_per_tensor(base, 0.1, 0, torch.qint8), os.path.join(folder, 'quantized.pth'))
import datetime, functools, pathlib, enum, types, numpy
class Phase(enum.Enum): train = 1
class History:
    def __init__(self): self.log = numpy.arange(3.0); self.texts = numpy.array(['a', 'b'], dtype=object)
class Config(dict): pass
beside = {'partial': functools.partial(torch.nn.functional.relu, inplace=True), 'path': pathlib.Path('/tmp/x'),
    'date': datetime.datetime.now(), 'loss': torch.nn.CrossEntropyLoss(weight=torch.ones(4)), 'phase': Phase.train, 'history': History(),
    'scheduler': scheduler, 'namespace': types.SimpleNamespace(a=1), 'config': Config(lr=1), 'optimizer': optimizer,
    'rng': numpy.random.default_rng(1), 'names': numpy.array(['a', 'b']), 'criterion': {'taps': torch.zeros(2, dtype=torch.complex64)}}
plain_beside = {k: v for k, v in beside.items() if k != 'criterion'} # whose storage's size nothing tells
for form, options in {'zip': {}, 'plain': {'_use_new_zipfile_serialization': False}, 'protocol4': {'pickle_protocol': 4}}.items():
    torch.save({'state_dict': net.state_dict(), **(plain_beside if form == 'plain' else beside)}, os.path.join(folder, f'beside.{form}.pth'), **options)
    torch.save(torch.nn.DataParallel(net), os.path.join(folder, f'whole.{form}.pth'), **options)
torch.jit.script(torch.nn.Linear(1, 1)).save(os.path.join(folder, 'script.pt'))
print(json.dumps(report))
`

/** Saves what paddle.save makes of a state dict: arrays by name, the names of the parameters, and arrays in pieces by protocols 2 and 3. */
const paddleScript = `
import sys, json, os, pickle, collections, numpy
folder = sys.argv[1]
random = numpy.random.default_rng(1)
state = collections.OrderedDict()
state['conv._conv.weight'] = random.standard_normal((4, 3, 5, 5)).astype('float32')
state['conv._batch_norm._mean'] = random.standard_normal(4).astype('float32')
state['big'] = random.standard_normal((30, 50)).astype('float32')
state['half'] = random.standard_normal(9).astype('float16')
state['double'] = random.standard_normal((2, 3))
state['columns'] = numpy.asfortranarray(random.standard_normal((40, 50)).astype('float32'))
state['other order'] = random.standard_normal(8).astype('>f4')
state['scalar'] = numpy.array(1.5, dtype='float32')
state['none'] = numpy.zeros((0, 3), dtype='float32')
state['integers'] = numpy.arange(3)
report = [[name, list(array.shape), array.dtype.kind == 'f'] for name, array in state.items()]
with open(os.path.join(folder, 'expected'), 'wb') as file:
    for array in state.values(): file.write(numpy.ascontiguousarray(array).astype('<f4').tobytes())
for protocol in (2, 3, 4, 5):
    saved = dict(state)
    saved['StructuredToParameterName@@'] = {name: f'p_{i}' for i, name in enumerate(state)}
    if protocol < 4:
        flat = saved.pop('big').flatten()
        saved['big@@.0'], saved['big@@.1'] = flat[:1000], flat[1000:]
        saved['UnpackBigParamInfor@@'] = {'big': {'OriginShape': (30, 50), 'slices': ['big@@.0', 'big@@.1']}}
    with open(os.path.join(folder, f'dict{protocol}.pdparams'), 'wb') as file: pickle.dump(saved, file, protocol)
    with open(os.path.join(folder, f'tuples{protocol}.pdparams'), 'wb') as file:
        pickle.dump({name: (f'p_{i}', array) for i, (name, array) in enumerate(state.items())}, file, protocol)
print(json.dumps(report))
`

type Expected = readonly (readonly [name: string, shape: readonly number[], floating: boolean])[]

/** Compares every number, to the bit; integers only by their shapes. */
async function expectTensors(file: Checkpoint, expected: Expected, numbers: Buffer): Promise<void> {
  expect([...file.tensors.keys()].sort()).toEqual(expected.map(([name]) => name).sort())
  let at = 0
  for (const [name, shape, floating] of expected) {
    const info = file.tensors.get(name)!
    expect([name, info.shape]).toEqual([name, shape])
    const bytes = info.length * 4
    if (floating) {
      const values = await file.read(name)
      const same = Buffer.from(values.buffer).equals(numbers.subarray(at, at + bytes))
      expect(same, `the numbers of ${name}`).toBe(true)
    }
    at += bytes
  }
  expect(at).toBe(numbers.length)
}

const kerasScript = `
import os, sys
os.environ.update(TF_CPP_MIN_LOG_LEVEL='3', CUDA_VISIBLE_DEVICES='')
import keras
folder = sys.argv[1]
losses = {
    'one of many': keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    'yes or no': keras.losses.BinaryCrossentropy(from_logits=True),
    'nothing': None,
}
for name, activation, loss in [(a, a, 'nothing') for a in ('softmax', 'sigmoid', 'tanh', 'linear')] + [
        (name, None, name) for name in ('one of many', 'yes or no')]:
    x = y = keras.Input((16, 16, 3))
    for layer in (keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation=activation)):
        y = layer(y)
    model = keras.Model(x, y)
    if losses[loss] is not None: model.compile(loss=losses[loss])
    model.save(os.path.join(folder, name + '.keras'))
    model.save(os.path.join(folder, name + '.h5'))
    nested = keras.Sequential([keras.Input((16, 16, 3)), keras.Model(x, y, name='inner')])
    nested.save(os.path.join(folder, name + '.nested.keras'))
import json, numpy
L, pixel = keras.layers, numpy.array([10, 100, 200], 'float32')
adapted = L.Normalization(); adapted.adapt(numpy.random.default_rng(1).random((4, 2, 2, 3)))
prepare = {
    'preprocess_input': [keras.applications.resnet.preprocess_input],
    'of MobileNet': [keras.applications.mobilenet_v2.preprocess_input],
    'Rescaling': [L.Rescaling(1 / 127.5, offset=-1)],
    'of channels': [L.RandomFlip(), L.Rescaling(1 / 255), L.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.0524, 0.0502, 0.0506])],
    'nothing': [L.RandomFlip(), L.RandomRotation(0.1)],
    'adapted': [adapted],
    'negative': [L.Rescaling(-1)],
    'Resizing': [L.Resizing(16, 16)],
    'Lambda': [L.Lambda(lambda x: x * 2)],
}
tails = {'GlobalMaxPooling2D': L.GlobalMaxPooling2D(), 'swish': None}
report = {}
for name, steps in list(prepare.items()) + [(name, []) for name in tails]:
    x = y = keras.Input((16, 16, 3))
    for step in steps: y = step(y)
    prepared = keras.Model(x, y)
    y = L.Conv2D(4, 3)(y)
    if name == 'swish': y = L.Activation('swish')(y)
    y = L.Dense(3)((tails.get(name) or L.GlobalAveragePooling2D())(y))
    for form in ('.keras', '.h5'): keras.Model(x, y).save(os.path.join(folder, name + form))
    out = keras.ops.convert_to_numpy(prepared(numpy.tile(pixel, (1, 16, 16, 1)), training=False))
    report[name] = out[0, 0, 0].tolist()
print(json.dumps(report))
`

const hasKeras = pythonHas('keras', 'tensorflow')

describe.runIf(hasKeras)("Keras' whole models", () => {
  const printed = hasKeras ? runPython(kerasScript, folder).trim().split('\n').at(-1)! : '{}'
  const pixels = JSON.parse(printed) as { [name: string]: readonly number[] }

  it.each(['preprocess_input', 'of MobileNet', 'Rescaling', 'of channels'])(
    'say what they do to pictures: %s',
    async name => {
      for (const form of ['.keras', '.h5']) {
        await using file = await openCheckpoint(join(folder, `${name}${form}`))
        expect(file.metadata.get('residual.problem')).toBeUndefined()
        const { range, channels, mean, std } = JSON.parse(file.metadata.get('residual.preprocessing')!)
        const bytes = channels === 'BGR' ? [200, 100, 10] : [10, 100, 200]
        const found = bytes.map((byte, c) => ((byte * range) / 255 - mean[c]) / std[c])
        for (const [c, value] of found.entries()) expect(value).toBeCloseTo(pixels[name]![c]!, 3)
      }
    },
  )

  it('say nothing of pictures where they only change them in training', async () => {
    await using file = await openCheckpoint(join(folder, 'nothing.keras'))
    expect(file.metadata.get('residual.preprocessing')).toBeUndefined()
    expect(file.metadata.get('residual.problem')).toBeUndefined()
  })

  it.each([
    ['adapted', /its layer 'normalization\w*' \(Normalization\)/],
    ['negative', /its layer 'rescaling\w*' \(Rescaling\)/],
    ['Resizing', /its layer 'resizing' \(Resizing\)/],
    ['Lambda', /its layer 'lambda' \(Lambda\)/],
    [
      'GlobalMaxPooling2D',
      /its layer 'global_max_pooling2d' \(GlobalMaxPooling2D\) is none that a ResNet has/,
    ],
    ['swish', /its layer 'activation' \(Activation\) has the activation "(swish|silu)"/],
  ])('are told by the layer where they do something else: %s', async (name, problem) => {
    for (const form of ['.keras', '.h5']) {
      await using file = await openCheckpoint(join(folder, `${name}${form}`))
      expect(file.metadata.get('residual.problem')).toMatch(problem)
    }
  })

  it.each([
    ['softmax', 'softmax'],
    ['sigmoid', 'sigmoid'],
    ['tanh', 'tanh'],
    ['linear', 'none'],
    ['one of many', 'softmax'],
    ['yes or no', 'sigmoid'],
  ])('say what they end with: %s', async (name, activation) => {
    for (const form of ['.keras', '.h5', '.nested.keras']) {
      await using file = await openCheckpoint(join(folder, `${name}${form}`))
      const expected = form === '.nested.keras' && name.includes(' ') ? 'none' : activation // it is not compiled
      expect(file.metadata.get('residual.activation'), form).toBe(expected)
    }
  })
})

const hasTorch = pythonHas('torch')
const hasNumpy = pythonHas('numpy')

describe.runIf(hasTorch)("PyTorch's own files", () => {
  const report = JSON.parse(hasTorch ? runPython(torchScript, folder) : '{}') as Record<string, Expected>

  describe.each(Object.keys(report))('of the case %s', name => {
    it.each(['zip', 'plain', 'protocol4'])('hold in the form %s what PyTorch has, to the bit', async form => {
      await using file = await openPyTorch(join(folder, `${name}.${form}.pth`))
      await expectTensors(file, report[name]!, readFileSync(join(folder, `${name}.expected`)))
      if (name === 'training')
        expect(Object.fromEntries(file.metadata)).toEqual({ epoch: '3', arch: 'resnet50', best: '76.5' })
    })
  })

  it.each(['zip', 'plain', 'protocol4'])(
    'are read whatever lies beside the weights, and as whole modules, in the form %s',
    async form => {
      await using state = await openPyTorch(join(folder, 'state.zip.pth'))
      for (const [name, prefix] of [
        ['beside', 'state_dict.'],
        ['whole', 'module.'],
      ] as const) {
        await using file = await openPyTorch(join(folder, `${name}.${form}.pth`))
        for (const each of state.tensors.keys()) {
          expect(file.tensors.get(prefix + each), each).toEqual(state.tensors.get(each))
          if (!each.endsWith('tracked'))
            expect(await file.read(prefix + each)).toEqual(await state.read(each))
        }
        if (name === 'whole') {
          expect(file.tensors.size).toBe(state.tensors.size)
          expect(file.metadata.get('residual.architecture')).toBe('{"epsilon":0.00001}')
        }
      }
    },
  )

  it.each([
    ['model.pth', 'no tensors in it, and what it asks for is not called: __main__.Net'],
    ['quantized.pth', 'is made by torch._utils._rebuild_qtensor, which is not among what is read'],
    ['script.pt', 'it is a TorchScript archive'],
  ])('without weights that can be read, %s, are refused', async (name, message) => {
    await expect(openPyTorch(join(folder, name))).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining(message),
    })
  })
})

describe.runIf(hasNumpy)('What paddle.save writes of numpy arrays', () => {
  const report = JSON.parse(hasNumpy ? runPython(paddleScript, folder) : '[]') as Expected

  it.each([2, 3, 4, 5].flatMap(protocol => ['dict', 'tuples'].map(kind => [kind, protocol])))(
    'as a %s by protocol %i is read to the bit',
    async (kind, protocol) => {
      await using file = await openPaddle(join(folder, `${kind}${protocol}.pdparams`))
      await expectTensors(file, report, readFileSync(join(folder, 'expected')))
    },
  )
})
