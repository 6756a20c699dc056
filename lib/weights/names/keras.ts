// The naming schemes of keras.applications. Its ResNets are v1, and their convolutions have biases.
import { caffe } from './caffe.ts'
import type { Scheme } from './scheme.ts'

const block = 'conv{i+1}_block{j+1}'

export const keras: Scheme = {
  name: 'Keras',
  marks: ['conv1_conv/kernel', 'conv2_block1_1_conv/kernel', 'conv1_bn/gamma'],
  stem: [{ conv: 'conv1_conv', norm: 'conv1_bn' }],
  block: { conv: `${block}_{k}_conv`, norm: `${block}_{k}_bn` },
  projection: { conv: `${block}_0_conv`, norm: `${block}_0_bn` },
  classifier: 'predictions',
  tensors: {
    weight: '{conv}/kernel',
    bias: '{conv}/bias',
    gamma: '{norm}/gamma',
    beta: '{norm}/beta',
    mean: '{norm}/moving_mean',
    variance: '{norm}/moving_variance',
    linearWeight: '{classifier}/kernel',
    linearBias: '{classifier}/bias',
  },
  convLayout: 'RSCK',
  linearLayout: 'CK',
  stride: 'v1',
  epsilon: 1.001e-5,
  input: 'caffe',
}

/**
 * The names of keras.applications until Keras 2.2.4 (2018), with Caffe's layer names and Keras' usual epsilon:
 * https://github.com/keras-team/keras-applications/blob/1.0.6/keras_applications/resnet50.py.
 */
export const kerasUntil2018: Scheme = {
  ...keras,
  name: 'Keras until 2018',
  marks: ['conv1/kernel', 'res2a_branch2a/kernel', 'bn_conv1/gamma'],
  stem: [{ conv: 'conv1', norm: 'bn_conv1' }],
  block: { conv: caffe.block.conv, norm: caffe.block.norm! },
  projection: { conv: caffe.projection.conv, norm: caffe.projection.norm! },
  classifier: 'fc1000',
  epsilon: 1e-3,
}

/** The same as written by Keras 1: variables repeat the layer's name, and `std` is actually the variance. */
export const keras1: Scheme = {
  ...kerasUntil2018,
  name: 'Keras 1',
  marks: ['conv1/conv1_W', 'res2a_branch2a/res2a_branch2a_W', 'bn_conv1/bn_conv1_gamma'],
  tensors: {
    weight: '{conv}/{conv}_W',
    bias: '{conv}/{conv}_b',
    gamma: '{norm}/{norm}_gamma',
    beta: '{norm}/{norm}_beta',
    mean: '{norm}/{norm}_running_mean',
    variance: '{norm}/{norm}_running_std',
    linearWeight: '{classifier}/{classifier}_W',
    linearBias: '{classifier}/{classifier}_b',
  },
}
