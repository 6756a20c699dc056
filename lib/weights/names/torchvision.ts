// The naming schemes of torchvision, timm and those who build on them. Our own names are torchvision's.
import { stemNames } from '../../model/blocks.ts'
import type { LayerNames, Scheme } from './scheme.ts'

export const torchvision: Scheme = {
  name: 'torchvision',
  marks: ['conv1.weight', 'layer1.0.conv1.weight'],
  stem: [{ conv: 'conv1', norm: 'bn1' }],
  block: { conv: 'layer{i}.{j}.conv{k}', norm: 'layer{i}.{j}.bn{k}' },
  projection: { conv: 'layer{i}.{j}.downsample.0', norm: 'layer{i}.{j}.downsample.1' },
  classifier: 'fc',
  tensors: {
    weight: '{conv}.weight',
    gamma: '{norm}.weight',
    beta: '{norm}.bias',
    mean: '{norm}.running_mean',
    variance: '{norm}.running_var',
    linearWeight: '{classifier}.weight',
    linearBias: '{classifier}.bias',
  },
  convLayout: 'KCRS',
  linearLayout: 'KC',
  stride: 'v1.5',
  epsilon: 1e-5,
  input: 'imagenet',
}

/** With batch norms folded into convolutions, which have biases instead, as `residual convert --folded` writes them. */
export const folded: Scheme = {
  ...torchvision,
  name: 'torchvision, folded',
  marks: ['conv1.weight', 'conv1.bias', 'layer1.0.conv1.bias'],
  stem: [{ conv: 'conv1' }],
  block: { conv: 'layer{i}.{j}.conv{k}' },
  projection: { conv: 'layer{i}.{j}.downsample.0' },
  tensors: {
    weight: '{conv}.weight',
    bias: '{conv}.bias',
    linearWeight: '{classifier}.weight',
    linearBias: '{classifier}.bias',
  },
  epsilon: 0,
}

const averagedProjection = { conv: 'layer{i}.{j}.downsample.1', norm: 'layer{i}.{j}.downsample.2' }

/** With an average pool before projections, as layer 0 of each. */
export const averaged: Scheme = {
  ...torchvision,
  name: 'torchvision, averaged shortcuts',
  marks: [...torchvision.marks, 'layer2.0.downsample.2.running_mean'],
  projection: averagedProjection,
  averagedShortcut: true,
}

export const foldedAveraged: Scheme = {
  ...folded,
  name: 'torchvision, averaged shortcuts, folded',
  marks: [...folded.marks, 'layer2.0.downsample.1.bias'],
  projection: { conv: averagedProjection.conv },
  averagedShortcut: true,
}

const [first, second, third] = stemNames.deep
const named = ({ conv, bn }: (typeof stemNames.deep)[number]): LayerNames => ({ conv, norm: bn })

/** timm's ResNet-C: a stem of three convolutions. */
export const timmC: Scheme = {
  ...torchvision,
  name: 'timm, deep stem',
  marks: ['conv1.0.weight', 'layer1.0.conv1.weight', 'layer2.0.downsample.0.weight'],
  stem: [named(first), named(second), named(third)],
}

/** timm's ResNet-D: also an average pool before projections, as layer 0 of each. */
export const timmD: Scheme = {
  ...timmC,
  name: 'timm, ResNet-D',
  marks: ['conv1.0.weight', 'layer1.0.conv1.weight', 'layer2.0.downsample.2.running_mean'],
  projection: averagedProjection,
  averagedShortcut: true,
}

export const foldedC: Scheme = {
  ...folded,
  name: 'timm, deep stem, folded',
  marks: ['conv1.0.bias', 'layer1.0.conv1.bias', 'layer2.0.downsample.0.bias'],
  stem: [{ conv: first.conv }, { conv: second.conv }, { conv: third.conv }],
}

export const foldedD: Scheme = {
  ...foldedC,
  name: 'timm, ResNet-D, folded',
  marks: ['conv1.0.bias', 'layer1.0.conv1.bias', 'layer2.0.downsample.1.bias'],
  projection: { conv: averagedProjection.conv },
  averagedShortcut: true,
}

/** OpenMMLab's MMPretrain (https://github.com/open-mmlab/mmpretrain): a backbone and a head. */
export const openMMLab: Scheme = {
  ...torchvision,
  name: 'OpenMMLab',
  marks: ['backbone.conv1.weight', 'backbone.layer1.0.conv1.weight', 'head.fc.weight'],
  stem: [{ conv: 'backbone.conv1', norm: 'backbone.bn1' }],
  block: { conv: 'backbone.layer{i}.{j}.conv{k}', norm: 'backbone.layer{i}.{j}.bn{k}' },
  projection: {
    conv: 'backbone.layer{i}.{j}.downsample.0',
    norm: 'backbone.layer{i}.{j}.downsample.1',
  },
  classifier: 'head.fc',
}
