import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openPaddle } from '../../../lib/weights/formats/paddle/open-paddle.ts'
import { openPyTorch } from '../../../lib/weights/formats/pytorch/open-pytorch.ts'
import { type Expected, expectTensors } from '../../support/expected-tensors.ts'
import { temporaryFolder } from '../../support/files.ts'
import { runPython } from '../../support/python.ts'

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

/** Saves what paddle.save makes of a state dict, for where there is no Paddle but numpy: arrays by name, the names of the parameters, and arrays in pieces by protocols 2 and 3. */
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

describe("PyTorch's own files", () => {
  const report = JSON.parse(runPython(torchScript, folder)) as Record<string, Expected>

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
    ['model.pth', 'contains no tensors, and the functions it names are not called: __main__.Net'],
    ['quantized.pth', 'is made by torch._utils._rebuild_qtensor, which is not supported'],
    ['script.pt', 'it is a TorchScript archive'],
  ])('without weights that can be read, %s, are refused', async (name, message) => {
    await expect(openPyTorch(join(folder, name))).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining(message),
    })
  })
})

describe('What paddle.save writes of numpy arrays', () => {
  const report = JSON.parse(runPython(paddleScript, folder)) as Expected

  it.each([2, 3, 4, 5].flatMap(protocol => ['dict', 'tuples'].map(kind => [kind, protocol])))(
    'as a %s by protocol %i is read to the bit',
    async (kind, protocol) => {
      await using file = await openPaddle(join(folder, `${kind}${protocol}.pdparams`))
      await expectTensors(file, report, readFileSync(join(folder, 'expected')))
    },
  )
})
