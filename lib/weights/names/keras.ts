// What does keras.applications call the tensors of a ResNet? They are of v1, and their convolutions have biases.
import type { Scheme } from './scheme.ts'

const block = 'conv{i+1}_block{j+1}'

export const keras: Scheme = {
  name: 'Keras',
  marks: ['conv1_conv/kernel', 'conv2_block1_1_conv/kernel', 'conv1_bn/gamma'],
  stem: { conv: 'conv1_conv', norm: 'conv1_bn' },
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
