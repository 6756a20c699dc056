import { copyFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { initialise, openModel, parametersOf, resnet, saveModel } from '../../lib/index.ts'
import { fromConfig } from '../../lib/sidecars/config.ts'
import { fromPreprocessorConfig } from '../../lib/sidecars/preprocessor.ts'
import { temporaryFolder } from '../support/files.ts'

const [mean, std] = [
  [0.485, 0.456, 0.406],
  [0.229, 0.224, 0.225],
] as const
const square = (side: number) => ({ height: side, width: side })
const reading = (json: object) => fromPreprocessorConfig({ ...json }, 'preprocessor_config.json')

/** As microsoft/resnet-50 on the Hugging Face hub has it, which was written by transformers 4.18. */
const resnet50 = {
  crop_pct: 0.875,
  do_normalize: true,
  do_resize: true,
  feature_extractor_type: 'ConvNextFeatureExtractor',
  image_mean: mean,
  image_std: std,
  resample: 3,
  size: 224,
}

/** As transformers 5 writes it, nulls included as versions between wrote them. */
const today = {
  ...resnet50,
  do_rescale: true,
  do_center_crop: null,
  crop_size: null,
  do_pad: null,
  feature_extractor_type: undefined,
  image_processor_type: 'ConvNextImageProcessor',
  rescale_factor: 0.00392156862745098,
  size: { shortest_edge: 224, longest_edge: null },
}

describe('preprocessor_config.json', () => {
  const cropped = {
    steps: [{ resize: { shorterSide: 256 } }, { crop: square(224) }],
    interpolation: 'bicubic',
    cropRounding: 'down',
    ...{ mean, std },
  }

  it.each([
    ['transformers 4.18', resnet50, cropped],
    ['transformers 5', today, cropped],
    ['nobody who says anything but the size', { size: 224 }, cropped],
    ['one who wants bilinear', { ...today, resample: 2 }, { ...cropped, interpolation: 'bilinear' }],
    [
      'one who takes all of the image',
      { ...today, size: { shortest_edge: 384 } },
      { steps: [{ resize: square(384) }], interpolation: 'bicubic', mean, std },
    ],
    [
      "ViT's processor",
      { ...resnet50, crop_pct: undefined, size: { height: 224, width: 192 } },
      { steps: [{ resize: { height: 224, width: 192 } }], interpolation: 'bicubic', mean, std },
    ],
    [
      "BiT's processor",
      {
        ...resnet50,
        crop_pct: undefined,
        size: { shortest_edge: 448 },
        crop_size: square(224),
        do_center_crop: true,
      },
      { ...cropped, steps: [{ resize: { shorterSide: 448 } }, { crop: square(224) }] },
    ],
    [
      'one whose images are large enough',
      { ...resnet50, do_resize: false, do_center_crop: true, crop_size: 224 },
      { ...cropped, steps: [{ crop: square(224) }] },
    ],
    ['one who scales to -1..1', { ...today, rescale_factor: 1 / 127.5 }, { ...cropped, range: 2 }],
    ['one who does not scale', { ...today, do_rescale: false }, { ...cropped, range: 255 }],
    [
      'one who does not normalise',
      { ...today, do_normalize: false },
      { ...cropped, mean: [0, 0, 0], std: [1, 1, 1] },
    ],
    [
      'one whose channels are all alike',
      { ...today, image_mean: 0.5, image_std: 0.25 },
      { ...cropped, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] },
    ],
  ])('is understood as %s writes it', (_, json, expected) => {
    expect(reading(json)).toEqual(expected)
  })

  it.each([
    [{ size: undefined }, "'size' in preprocessor_config.json is nothing, not"],
    [{ size: '224' }, 'not a shorter side'],
    [{ size: { longest_edge: 224 } }, "'size' in preprocessor_config.json is {"],
    [{ size: { shortest_edge: 224, longest_edge: 300 } }, 'not a shorter side'],
    [{ size: { shortest_edge: '224' } }, 'has the invalid step {'],
    [{ size: { shortest_edge: [] } }, 'has the invalid step {'],
    [{ size: { height: 224 } }, 'not a shorter side'],
    [{ size: { height: 224, width: '224' } }, 'has the invalid step {'],
    [{ size: { height: 1e9, width: 1e9 } }, 'has the invalid step {'],
    [{ size: 0 }, 'has the invalid step {'],
    [{ size: -224 }, 'has the invalid step {'],
    [{ size: 1e300 }, 'has the invalid step {'],
    [{ size: [224, 224] }, 'not a shorter side'],
    [{ resample: 'x'.repeat(200) }, 'x...; supported are bilinear and bicubic'],
    [{ resample: 0 }, 'asks for the unsupported interpolation 0'],
    [{ resample: 'constructor' }, 'asks for the unsupported interpolation "constructor"'],
    [{ crop_pct: 0 }, "'crop_pct' in preprocessor_config.json is 0, not a number above 0"],
    [{ crop_pct: '0.9' }, 'not a number above 0'],
    [{ crop_pct: 1e-300 }, 'has the invalid step {'],
    [{ rescale_factor: 'x' }, 'not a number above 0'],
    [{ rescale_factor: 1e308 }, "'range' that is not a positive number"],
    [{ do_rescale: 'no' }, '\'do_rescale\' in preprocessor_config.json is "no", not true or false'],
    [{ do_normalize: 1 }, 'not true or false'],
    [{ do_resize: false }, "has no 'steps'"],
    [
      { do_center_crop: true },
      "'crop_size' in preprocessor_config.json is nothing, not a height and a width",
    ],
    [{ do_center_crop: true, crop_size: { height: 0, width: 0 } }, 'has the invalid step {'],
    [{ do_pad: true }, 'not false, the only supported value'],
    [{ image_mean: ['0', '1', '2'] }, "'mean' that is not three numbers"],
    [{ image_mean: [0.5] }, "'mean' that is not three numbers"],
    [{ image_std: 0 }, "'std' that is not three positive numbers"],
  ] as [object, string][])('is refused with a code where it holds %o', (changes, message) => {
    const parsing = () => reading({ ...resnet50, ...changes })
    expect(parsing).toThrow(expect.objectContaining({ code: 'MODEL_INVALID' }))
    expect(parsing).toThrow(message)
  })

  it('is refused with a code if it is nested deeply', () => {
    const deep = JSON.parse('['.repeat(20_000) + ']'.repeat(20_000))
    for (const changes of [{ size: deep }, { size: { height: deep, width: 1 } }, { resample: deep }]) {
      const parsing = () => reading({ ...resnet50, ...changes })
      expect(parsing).toThrow(expect.objectContaining({ code: 'MODEL_INVALID' }))
      expect(parsing).toThrow('nested too deeply')
    }
  })
})

describe("transformers' config.json", () => {
  const config = {
    architectures: ['ResNetForImageClassification'],
    depths: [3, 4, 6, 3],
    downsample_in_first_stage: false,
    embedding_size: 64,
    hidden_act: 'relu',
    hidden_sizes: [256, 512, 1024, 2048],
    id2label: { 0: 'tench, Tinca tinca', 1: 'goldfish, Carassius auratus', 2: 'great white shark' },
    label2id: { 'tench, Tinca tinca': 0, 'goldfish, Carassius auratus': 1, 'great white shark': 2 },
    layer_type: 'bottleneck',
    model_type: 'resnet',
    num_channels: 3,
    torch_dtype: 'float32',
    transformers_version: '4.18.0.dev0',
  }
  const read = (changes: object) => fromConfig({ ...config, ...changes }, 'config.json')

  it('gives the labels in numeric order, and where the stride is', () => {
    const labels = ['tench, Tinca tinca', 'goldfish, Carassius auratus', 'great white shark']
    expect(read({})).toEqual({ labels, architecture: { stride: 'v1.5' } })
    expect(read({ downsample_in_bottleneck: true }).architecture).toEqual({ stride: 'v1' })
    expect(read({ id2label: { 10: 'k', 2: 'c' } }).labels).toBeUndefined()
    expect(read({ id2label: null }).labels).toBeUndefined()
    expect(read({ id2label: {} }).labels).toBeUndefined()
    expect(read({ id2label: { 0: 1 } }).labels).toBeUndefined()
    expect(read({ id2label: { 1: 'b', 0: 'a' } }).labels).toEqual(['a', 'b'])
  })

  it.each([
    [{ hidden_act: 'gelu' }, 'CHECKPOINT_MISMATCH', 'the activation "gelu"'],
    [{ hidden_act: ['relu'] }, 'CHECKPOINT_MISMATCH', 'the activation ["relu"]'],
    [{ downsample_in_first_stage: true }, 'CHECKPOINT_MISMATCH', 'a stride in the first stage'],
    [{ downsample_in_first_stage: 'no' }, 'MODEL_INVALID', 'not true or false'],
    [{ downsample_in_bottleneck: 1 }, 'MODEL_INVALID', 'not true or false'],
    [{ id2label: 'tench' }, 'MODEL_INVALID', 'not an object of labels by index'],
  ])('is refused where it holds %o', (changes, code, message) => {
    expect(() => read(changes)).toThrow(expect.objectContaining({ code }))
    expect(() => read(changes)).toThrow(message)
  })
})

describe("timm's config.json", () => {
  /** As timm/resnet50.a1_in1k on the hub has it. */
  const data = {
    custom_load: false,
    input_size: [3, 224, 224],
    test_input_size: [3, 288, 288],
    fixed_input_size: false,
    interpolation: 'bicubic',
    crop_pct: 0.95,
    test_crop_pct: 1.0,
    crop_mode: 'center',
    ...{ mean, std },
    num_classes: 1000,
    pool_size: [7, 7],
    first_conv: 'conv1',
    classifier: 'fc',
  }
  const config = { architecture: 'resnet50', num_classes: 1000, num_features: 2048, pretrained_cfg: data }
  const read = (changes: object) => fromConfig({ ...config, ...changes }, 'config.json')
  const steps = [{ resize: { shorterSide: 235 } }, { crop: square(224) }]
  const preprocessing = { steps, interpolation: 'bicubic', mean, std }

  it('gives the preprocessing, and labels if it has them', () => {
    expect(read({})).toEqual({ preprocessing })
    expect(read({ pretrained_cfg: null })).toEqual({
      preprocessing: { ...preprocessing, steps: [{ resize: { shorterSide: 256 } }, { crop: square(224) }] },
    })
    expect(read({ label_names: ['a', 'b'] }).labels).toEqual(['a', 'b'])
    expect(read({ label_names: { 0: 'a', 1: 'b' } }).labels).toEqual(['a', 'b'])
    const squash = { ...data, input_size: [3, 64, 96], crop_mode: 'squash', crop_pct: 1 }
    expect(read({ pretrained_cfg: squash }).preprocessing?.steps).toEqual([
      { resize: { height: 64, width: 96 } },
      { crop: { height: 64, width: 96 } },
    ])
  })

  it('is read as timm before 0.9 wrote it: flat, with other model names', () => {
    const flat = { architecture: 'tv_resnext50_32x4d', num_features: 2048, labels: ['a', 'b'], ...data }
    expect(fromConfig(flat, 'config.json')).toEqual({ preprocessing, labels: ['a', 'b'] })
  })

  it('may spell out defaults, as timm 1.0.31 does', () => {
    const args = { num_classes: 5, in_chans: 3, global_pool: 'avg', output_stride: 32 }
    expect(read({ global_pool: 'avg', model_args: args })).toEqual({ preprocessing })
  })

  it.each(['resnet18', 'wide_resnet50_2', 'resnext101_32x8d', 'ssl_resnet18', 'gluon_resnet152_v1b'])(
    'is taken for the plain network %s',
    architecture => {
      expect(read({ architecture }).preprocessing).toBeDefined()
    },
  )

  it.each([
    [{ architecture: 'resnetblur50' }, 'CHECKPOINT_MISMATCH', 'the architecture "resnetblur50" of timm'],
    [{ architecture: 'x'.repeat(200) }, 'CHECKPOINT_MISMATCH', 'xx... of timm'],
    [{ model_args: { act_layer: 'gelu' } }, 'CHECKPOINT_MISMATCH', 'the model argument "act_layer": "gelu"'],
    [{ model_args: { global_pool: 'max' } }, 'CHECKPOINT_MISMATCH', 'argument "global_pool": "max"'],
    [{ global_pool: 'catavgmax' }, 'CHECKPOINT_MISMATCH', 'argument "global_pool": "catavgmax"'],
    [{ model_args: { output_stride: 16 } }, 'CHECKPOINT_MISMATCH', 'argument "output_stride": 16'],
    [{ model_args: 'act_layer' }, 'MODEL_INVALID', 'not an object'],
    [{ pretrained_cfg: 'x' }, 'MODEL_INVALID', '\'pretrained_cfg\' in config.json is "x", not an object'],
    [{ pretrained_cfg: [1] }, 'MODEL_INVALID', 'not an object'],
    [{ pretrained_cfg: { ...data, crop_pct: -1 } }, 'MODEL_INVALID', 'not a number above 0'],
    [{ pretrained_cfg: { ...data, crop_mode: 'border' } }, 'MODEL_INVALID', 'asks for an unsupported crop'],
    [{ pretrained_cfg: { ...data, input_size: [3, 64, 96] } }, 'MODEL_INVALID', '"center" to [3,64,96]'],
    [{ pretrained_cfg: { ...data, input_size: [3, 'a', 'a'] } }, 'MODEL_INVALID', 'has the invalid step {'],
    [{ pretrained_cfg: { ...data, input_size: 224 } }, 'nothing', ''],
    [
      { pretrained_cfg: { ...data, interpolation: 'lanczos' } },
      'MODEL_INVALID',
      'the unsupported interpolation "lanczos"',
    ],
    [{ pretrained_cfg: { ...data, mean: 0.5 } }, 'MODEL_INVALID', "'mean' that is not three numbers"],
    [{ label_names: 7 }, 'MODEL_INVALID', 'not an object of labels by index'],
  ])('is refused where it holds %o', (changes, code, message) => {
    if (code === 'nothing') return expect(read(changes).preprocessing?.steps).toEqual(steps)
    expect(() => read(changes)).toThrow(expect.objectContaining({ code }))
    expect(() => read(changes)).toThrow(message)
  })

  it("is ignored if it is another library's", () => {
    expect(fromConfig({ model_type: 'vit', id2label: 3 }, 'config.json')).toEqual({})
    expect(fromConfig({}, 'config.json')).toEqual({})
  })
})

describe('files beside a checkpoint', () => {
  const folder = temporaryFolder()
  const architecture = { layers: 18, width: 0.0625, classes: 2 }
  const path = join(folder, 'model.safetensors')
  const config = join(folder, 'config.json')
  const write = async (text: string) => {
    const weights = initialise(parametersOf(resnet(architecture)), 1)
    await saveModel(join(folder, 'saved.safetensors'), { architecture, weights })
    copyFileSync(join(folder, 'saved.safetensors'), path)
    writeFileSync(config, text)
  }

  it.each([
    ['{', 'is not JSON'],
    ['[]', 'does not hold an object'],
    ['{"model_type":"resnet","id2label":{"0":"a","1":"b","2":"c"}}', 'There are 3 labels for the 2 classes'],
  ])('are refused with a code if they hold %s', async (text, message) => {
    await write(text)
    await expect(openModel(path)).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringContaining(message),
    })
  })

  it('are not read if they are far too long', async () => {
    await write('{}')
    truncateSync(config, 2 ** 27) // a hole
    await expect(openModel(path)).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringContaining('it has 134217728 bytes, more than'),
    })
  })

  it('are overridden by options, one by one', async () => {
    await write('{"model_type":"resnet","downsample_in_bottleneck":true,"id2label":{"0":"a","1":"b"}}')
    await using model = await openModel(path, { labels: ['c', 'd'] })
    expect(model.labels).toEqual(['c', 'd'])
    expect(model.architecture.stride).toBe('v1')
  })
})
