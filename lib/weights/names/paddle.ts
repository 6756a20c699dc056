// The naming schemes of PaddlePaddle: paddle.vision like torchvision, its tutorial and PaddleClas their own.
import type { Scheme } from './scheme.ts'
import { torchvision } from './torchvision.ts'

/** `paddle.vision.models.resnet50` and the like. */
export const paddleVision: Scheme = {
  ...torchvision,
  name: 'paddle.vision',
  marks: ['conv1.weight', 'layer1.0.conv1.weight', 'bn1._mean'],
  tensors: { ...torchvision.tensors, mean: '{norm}._mean', variance: '{norm}._variance' },
  linearLayout: 'CK',
}

/** The dygraph class of Paddle's tutorial on image classification, and of PaddleClas until 2.1. */
export const paddleDygraph: Scheme = {
  ...paddleVision,
  name: 'Paddle dygraph',
  marks: ['conv._conv.weight', 'bb_0_0.conv0._conv.weight'],
  stem: [{ conv: 'conv._conv', norm: 'conv._batch_norm' }],
  block: {
    conv: 'bb_{i-1}_{j}.conv{k-1}._conv',
    norm: 'bb_{i-1}_{j}.conv{k-1}._batch_norm',
  },
  projection: { conv: 'bb_{i-1}_{j}.short._conv', norm: 'bb_{i-1}_{j}.short._batch_norm' },
  classifier: 'out',
}

/** The same in PaddleClas in the first half of 2020, with Caffe's names for blocks. */
export const paddleDygraphCaffe: Scheme = {
  ...paddleDygraph,
  name: "Paddle dygraph, Caffe's blocks",
  marks: ['conv._conv.weight', 'res2a.conv0._conv.weight'],
  block: {
    conv: 'res{i+1}{j:a}.conv{k-1}._conv',
    norm: 'res{i+1}{j:a}.conv{k-1}._batch_norm',
  },
  projection: { conv: 'res{i+1}{j:a}.short._conv', norm: 'res{i+1}{j:a}.short._batch_norm' },
}

/** The same in PaddleClas' `ResNet50_vd` and the like, which are ResNet-D. `ResNet50_vc`, a ResNet-C, has the same names. */
export const paddleDygraphVd: Scheme = {
  ...paddleDygraph,
  name: 'Paddle dygraph, vd',
  marks: ['conv1_1._conv.weight', 'bb_0_0.conv0._conv.weight'],
  stem: [
    { conv: 'conv1_1._conv', norm: 'conv1_1._batch_norm' },
    { conv: 'conv1_2._conv', norm: 'conv1_2._batch_norm' },
    { conv: 'conv1_3._conv', norm: 'conv1_3._batch_norm' },
  ],
  averagedShortcut: true,
}

/** PaddleClas' `ResNeXt101_32x8d_wsl` and the like. */
export const paddleWsl: Scheme = {
  ...paddleVision,
  name: 'PaddleClas, WSL',
  marks: ['_conv_stem._conv.weight', '_conv1_0._conv0._conv.weight'],
  stem: [{ conv: '_conv_stem._conv', norm: '_conv_stem._bn' }],
  block: { conv: '_conv{i}_{j}._conv{k-1}._conv', norm: '_conv{i}_{j}._conv{k-1}._bn' },
  projection: { conv: '_conv{i}_{j}._short._conv._conv', norm: '_conv{i}_{j}._short._conv._bn' },
  classifier: '_out',
}

/**
 * PaddleClas since 2.2: `ppcls/arch/backbone/legendary_models/resnet.py` of https://github.com/PaddlePaddle/PaddleClas. All blocks are in
 * one list.
 */
export const paddleClasBlocks: Scheme = {
  ...paddleVision,
  name: 'PaddleClas 2.2',
  marks: ['stem.0.conv.weight', 'blocks.0.conv0.conv.weight'],
  stem: [{ conv: 'stem.0.conv', norm: 'stem.0.bn' }],
  block: { conv: 'blocks.{n}.conv{k-1}.conv', norm: 'blocks.{n}.conv{k-1}.bn' },
  projection: { conv: 'blocks.{n}.short.conv', norm: 'blocks.{n}.short.bn' },
}

export const paddleClasBlocksVd: Scheme = {
  ...paddleClasBlocks,
  name: 'PaddleClas 2.2, vd',
  marks: ['stem.2.conv.weight', 'blocks.0.conv0.conv.weight'],
  stem: [
    { conv: 'stem.0.conv', norm: 'stem.0.bn' },
    { conv: 'stem.1.conv', norm: 'stem.1.bn' },
    { conv: 'stem.2.conv', norm: 'stem.2.bn' },
  ],
  averagedShortcut: true,
}

/** PaddleClas' static graphs, with parameters named like Caffe's layers. */
export const paddleClas: Scheme = {
  ...paddleVision,
  name: 'PaddleClas',
  marks: ['conv1_weights', 'res2a_branch2a_weights'],
  stem: [{ conv: 'conv1', norm: 'bn_conv1' }],
  block: { conv: 'res{i+1}{j:a}_branch2{k:a}', norm: 'bn{i+1}{j:a}_branch2{k:a}' },
  projection: { conv: 'res{i+1}{j:a}_branch1', norm: 'bn{i+1}{j:a}_branch1' },
  classifier: 'fc_0',
  tensors: {
    weight: '{conv}_weights',
    gamma: '{norm}_scale',
    beta: '{norm}_offset',
    mean: '{norm}_mean',
    variance: '{norm}_variance',
    linearWeight: '{classifier}.w_0',
    linearBias: '{classifier}.b_0',
  },
}

/** Batch norms are named after their convolution without its first three letters. */
export const paddleClasVd: Scheme = {
  ...paddleClas,
  name: 'PaddleClas, vd',
  marks: ['conv1_1_weights', 'res2a_branch2a_weights'],
  stem: [
    { conv: 'conv1_1', norm: 'bnv1_1' },
    { conv: 'conv1_2', norm: 'bnv1_2' },
    { conv: 'conv1_3', norm: 'bnv1_3' },
  ],
  averagedShortcut: true,
}

const namedClassifier = { linearWeight: '{classifier}_weights', linearBias: '{classifier}_offset' } as const

/** ResNeXts, with other names for stem and classifier. */
export const paddleClasNext: Scheme = {
  ...paddleClas,
  name: 'PaddleClas, ResNeXt',
  marks: ['res_conv1_weights', 'res2a_branch2a_weights'],
  stem: [{ conv: 'res_conv1', norm: 'bn_conv1' }],
  classifier: 'fc',
  tensors: { ...paddleClas.tensors, ...namedClassifier },
}

export const paddleClasNextVd: Scheme = {
  ...paddleClasVd,
  name: 'PaddleClas, ResNeXt vd',
  marks: [...paddleClasVd.marks, 'fc_weights'],
  classifier: 'fc',
  tensors: paddleClasNext.tensors,
}
