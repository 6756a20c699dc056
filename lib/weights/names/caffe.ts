// The naming schemes of ResNets from Caffe: one layer for mean and variance, another for scale and offset, as in
// https://github.com/KaimingHe/deep-residual-networks.
import type { Scheme } from './scheme.ts'

/** Layers' blobs by their index, as Caffe writes them to HDF5 (below `data/`). */
export const caffe: Scheme = {
  name: 'Caffe',
  marks: ['conv1/0', 'res2a_branch2a/0', 'scale_conv1/0'],
  stem: [{ conv: 'conv1', norm: 'bn_conv1', scale: 'scale_conv1' }],
  block: {
    conv: 'res{i+1}{j:a}_branch2{k:a}',
    norm: 'bn{i+1}{j:a}_branch2{k:a}',
    scale: 'scale{i+1}{j:a}_branch2{k:a}',
  },
  projection: {
    conv: 'res{i+1}{j:a}_branch1',
    norm: 'bn{i+1}{j:a}_branch1',
    scale: 'scale{i+1}{j:a}_branch1',
  },
  classifier: 'fc1000',
  tensors: {
    weight: '{conv}/0',
    bias: '{conv}/1',
    mean: '{norm}/0',
    variance: '{norm}/1',
    factor: '{norm}/2',
    gamma: '{scale}/0',
    beta: '{scale}/1',
    linearWeight: '{classifier}/0',
    linearBias: '{classifier}/1',
  },
  convLayout: 'KCRS',
  linearLayout: 'KC',
  stride: 'v1',
  epsilon: 1e-5,
  input: 'caffe',
}

/** The same layers as PyTorch modules, as converters from Caffe write them. */
export const caffeInPyTorch: Scheme = {
  ...caffe,
  name: 'Caffe, converted',
  marks: ['conv1.weight', 'res2a_branch2a.weight', 'scale_conv1.weight'],
  tensors: {
    weight: '{conv}.weight',
    bias: '{conv}.bias',
    mean: '{norm}.running_mean',
    variance: '{norm}.running_var',
    gamma: '{scale}.weight',
    beta: '{scale}.bias',
    linearWeight: '{classifier}.weight',
    linearBias: '{classifier}.bias',
  },
}
