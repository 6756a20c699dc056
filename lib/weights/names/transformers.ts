// The naming scheme of Hugging Face's transformers (ResNetForImageClassification).
import type { Scheme } from './scheme.ts'
import { torchvision } from './torchvision.ts'

const block = 'resnet.encoder.stages.{i-1}.layers.{j}'

export const transformers: Scheme = {
  ...torchvision,
  name: 'transformers',
  marks: [
    'resnet.embedder.embedder.convolution.weight',
    'resnet.encoder.stages.0.layers.0.layer.0.convolution.weight',
  ],
  stem: [
    {
      conv: 'resnet.embedder.embedder.convolution',
      norm: 'resnet.embedder.embedder.normalization',
    },
  ],
  block: { conv: `${block}.layer.{k-1}.convolution`, norm: `${block}.layer.{k-1}.normalization` },
  projection: { conv: `${block}.shortcut.convolution`, norm: `${block}.shortcut.normalization` },
  classifier: 'classifier.1',
}
