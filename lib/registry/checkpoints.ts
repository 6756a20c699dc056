// The table of checkpoints that can be pulled by a short name. docs/pull.md says what is pinned and what is not.
//
// Sources, all read in November 2026 (nothing here was computed or guessed; what no source states is left out):
// - SHA-256, revision and size of a Hub file: the file's own page, https://huggingface.co/OWNER/REPO/blob/REVISION/model.safetensors
//   ("Git LFS Details"). It rounds sizes.
// - `sha256` of eight digits: the end of the file's name, which PyTorch defines to be the beginning of its SHA-256
//   (`check_hash` of torch.hub.load_state_dict_from_url); sizes likewise from torchvision 0.29.1, torchvision/models/resnet.py,
//   `_file_size` in MiB.
// - tv, tv2 and torchvision: accuracy and preprocessing from the same file (`_metrics`, `transforms`), licence from the Hub.
// - a1, a1h: preprocessing and licence from timm 1.0.29, timm/models/resnet.py (`_rcfg`: bicubic, crop_pct 0.95, hence a shorter
//   side of floor(224 / 0.95)), accuracy from the table of timm's model cards for 224x224.
// - microsoft: a ConvNextImageProcessor with crop_pct 0.875 and bicubic, as its preprocessor_config.json has it and those of models
//   made from it repeat; its card states no accuracy.
import { imagenet, type Preprocessing } from '../image/preprocess.ts'
import type { Architecture } from '../model/architecture.ts'

export interface Checkpoint {
  /** A URL, or a repository of the Hugging Face hub. */
  readonly from: { readonly url: string } | { readonly repository: string; readonly revision: string }
  readonly architecture: Architecture
  /** All 64 digits, or as many leading ones as are known. Without any, the first pull trusts the value that the hub states. */
  readonly sha256?: string
  /** As published there, rounded. */
  readonly size?: string
  /** Per cent of ImageNet-1k's validation images, with this preprocessing. */
  readonly top1?: number
  readonly licence: string
  readonly preprocessing: Preprocessing
}

const shorterSide = (side: number, interpolation: Preprocessing['interpolation']): Preprocessing => ({
  ...imagenet,
  steps: [{ resize: { shorterSide: side } }, { crop: { height: 224, width: 224 } }],
  interpolation,
})
const preprocessings = {
  torchvision: imagenet,
  torchvision2: shorterSide(232, 'bilinear'),
  strikesBack: shorterSide(235, 'bicubic'),
  convNext: shorterSide(256, 'bicubic'),
}
const bsd = { licence: 'BSD-3-Clause', preprocessing: preprocessings.torchvision }
const bsd2 = { licence: 'BSD-3-Clause', preprocessing: preprocessings.torchvision2 }
const apache = { licence: 'Apache-2.0', preprocessing: preprocessings.strikesBack }
const microsoft = { licence: 'Apache-2.0', preprocessing: preprocessings.convNext }

const plain = (layers: number): Architecture => ({ layers })
const resnext = (layers: number, groups: number, widthPerGroup: number): Architecture => ({
  layers,
  groups,
  widthPerGroup,
})
const wide = (layers: number): Architecture => ({ layers, widthPerGroup: 128 })

const timm = (name: string, revision = 'main') => ({ repository: `timm/${name}`, revision })
const hub = (repository: string, revision = 'main') => ({ repository, revision })
const torch = (file: string) => ({ url: `https://download.pytorch.org/models/${file}.pth` })

/** By name; files in the cache are named after it. */
export const checkpoints: { readonly [name: string]: Checkpoint } = {
  'resnet18.tv_in1k': {
    from: timm('resnet18.tv_in1k'),
    architecture: plain(18),
    sha256: '694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81',
    size: '46.8 MB',
    top1: 69.758,
    ...bsd,
  },
  'resnet18.a1_in1k': {
    from: timm('resnet18.a1_in1k', 'ebd61f9c7420e5b5b53262b8ce6bbe311e1e872a'),
    architecture: plain(18),
    sha256: '80c49dee3da4822c009c5a7fe591e9223c5a2cfcf95a4067ca4dfb5a7b89c612',
    size: '46.8 MB',
    top1: 71.49,
    ...apache,
  },
  'resnet34.tv_in1k': { from: timm('resnet34.tv_in1k'), architecture: plain(34), top1: 73.314, ...bsd },
  'resnet34.a1_in1k': { from: timm('resnet34.a1_in1k'), architecture: plain(34), top1: 76.42, ...apache },
  'resnet50.tv_in1k': {
    from: timm('resnet50.tv_in1k', 'aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8'),
    architecture: plain(50),
    sha256: '5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888',
    size: '102 MB',
    top1: 76.13,
    ...bsd,
  },
  'resnet50.tv2_in1k': { from: timm('resnet50.tv2_in1k'), architecture: plain(50), top1: 80.858, ...bsd2 },
  'resnet50.a1_in1k': {
    from: timm('resnet50.a1_in1k', '5d9e13b8fdab4d9718bcf2c8f5c3af01878367e8'),
    architecture: plain(50),
    sha256: '773525d5821de224f8f30c33377b7a795d7863e08522698200d3217d3f2a41bb',
    size: '102 MB',
    top1: 80.38,
    ...apache,
  },
  'resnet101.tv_in1k': { from: timm('resnet101.tv_in1k'), architecture: plain(101), top1: 77.374, ...bsd },
  'resnet101.tv2_in1k': {
    from: timm('resnet101.tv2_in1k'),
    architecture: plain(101),
    top1: 81.886,
    ...bsd2,
  },
  'resnet101.a1h_in1k': {
    from: timm('resnet101.a1h_in1k', '21721ac354aff8c4fbc371f3c4e46fa8832d4d68'),
    architecture: plain(101),
    sha256: '1a076c0384295e7d3704f201c5711ff245507db934230bab72ff3014a95f90fe',
    size: '179 MB',
    top1: 81.93,
    ...apache,
  },
  'resnet152.tv_in1k': {
    from: timm('resnet152.tv_in1k'),
    architecture: plain(152),
    sha256: '15897077afdf4d6334dc0c3f8e6fb483afb3faa9298c139f3c6eb29bca6ae5b2',
    size: '241 MB',
    top1: 78.312,
    ...bsd,
  },
  'resnet152.tv2_in1k': {
    from: timm('resnet152.tv2_in1k', '6c03aba8c980980031f286eec039dc10543e01a4'),
    architecture: plain(152),
    top1: 82.284,
    ...bsd2,
  },
  'resnet152.a1h_in1k': { from: timm('resnet152.a1h_in1k'), architecture: plain(152), top1: 82.8, ...apache },
  'resnext50_32x4d.tv_in1k': {
    from: timm('resnext50_32x4d.tv_in1k', 'ac4eef0c61cc63cb64d8c416bf9b518f757bed1f'),
    architecture: resnext(50, 32, 4),
    sha256: 'c0d85cba49c0e9dedbcf6d4e572e2c5ea5eb68e9d64d0564811fd54d4f72939a',
    size: '100 MB',
    top1: 77.618,
    ...bsd,
  },
  'resnext50_32x4d.a1h_in1k': {
    from: timm('resnext50_32x4d.a1h_in1k', '8af8dd95e2a7538fad74714fc76507d9de9de33c'),
    architecture: resnext(50, 32, 4),
    sha256: 'b952952a7b3e856b16ebf82fb44d2aa8c502e73ec678976c9e3b970fcd530bd5',
    size: '100 MB',
    top1: 81.1,
    ...apache,
  },
  'resnext101_32x8d.tv_in1k': {
    from: timm('resnext101_32x8d.tv_in1k'),
    architecture: resnext(101, 32, 8),
    sha256: '71c7427e233904ad828b768b9683876dc71f143876cbadaa26428bfea3560fc3',
    size: '356 MB',
    top1: 79.312,
    ...bsd,
  },
  'resnext101_64x4d.tv_in1k': {
    from: timm('resnext101_64x4d.tv_in1k', '56d0407ee160d0f4436a455f9d3f66f4454010ac'),
    architecture: resnext(101, 64, 4),
    sha256: '47528f24e5cd6844249c9e4ea11aed6619431b83a0596afe80efdfffdb369900',
    size: '335 MB',
    top1: 83.246,
    ...bsd2, // torchvision has no older weights of this network
  },
  'wide_resnet50_2.tv_in1k': {
    from: timm('wide_resnet50_2.tv_in1k'),
    architecture: wide(50),
    sha256: 'df6fb6c4824769769de18e14088475fd6ee94236849aa4e5d8022ba9d9a9a16c',
    size: '276 MB',
    top1: 78.468,
    ...bsd,
  },
  'wide_resnet101_2.tv2_in1k': {
    from: timm('wide_resnet101_2.tv2_in1k', 'a6575ad1ffc6e79d0ae5f480bb78492e8e63b866'),
    architecture: wide(101),
    sha256: '0438046a3b7bb8166e6564dec811985d595f3098c9970181305945e0efa964c3',
    size: '508 MB',
    top1: 82.51,
    ...bsd2,
  },
  'microsoft/resnet-18': {
    from: hub('microsoft/resnet-18'),
    architecture: plain(18),
    sha256: '1cf00ee468998c23d084361b02cffadabacb5074105564c596b8079f77ecb126',
    size: '46.8 MB',
    ...microsoft,
  },
  'microsoft/resnet-34': {
    from: hub('microsoft/resnet-34'),
    architecture: plain(34),
    sha256: '1096166c7cf216a7320a6b67b754b1776b99205a44d070c6cb52429af2d136bb',
    size: '87.3 MB',
    ...microsoft,
  },
  'microsoft/resnet-50': {
    from: hub('microsoft/resnet-50', '34c2154c194f829b11125337b98c8f5f9965ff19'),
    architecture: plain(50),
    sha256: '9c6061af1f450bb0847e529fd742aa5066017be379c71bbf5546b198e5b13a1e',
    size: '102 MB',
    ...microsoft,
  },
  ...torchvision('resnet18-f37072fd', plain(18), '44.661 MiB', 69.758, bsd),
  ...torchvision('resnet34-b627a593', plain(34), '83.275 MiB', 73.314, bsd),
  ...torchvision('resnet50-0676ba61', plain(50), '97.781 MiB', 76.13, bsd),
  ...torchvision('resnet50-11ad3fa6', plain(50), '97.79 MiB', 80.858, bsd2),
  ...torchvision('resnet101-63fe2227', plain(101), '170.511 MiB', 77.374, bsd),
  ...torchvision('resnet101-cd907fc2', plain(101), '170.53 MiB', 81.886, bsd2),
  ...torchvision('resnet152-394f9c45', plain(152), '230.434 MiB', 78.312, bsd),
  ...torchvision('resnet152-f82ba261', plain(152), '230.474 MiB', 82.284, bsd2),
  ...torchvision('resnext50_32x4d-7cdf4587', resnext(50, 32, 4), '95.789 MiB', 77.618, bsd),
  ...torchvision('resnext50_32x4d-1a0047aa', resnext(50, 32, 4), '95.833 MiB', 81.198, bsd2),
  ...torchvision('resnext101_32x8d-8ba56ff5', resnext(101, 32, 8), '339.586 MiB', 79.312, bsd),
  ...torchvision('resnext101_32x8d-110c445d', resnext(101, 32, 8), '339.673 MiB', 82.834, bsd2),
  ...torchvision('resnext101_64x4d-173b62eb', resnext(101, 64, 4), '319.318 MiB', 83.246, bsd2),
  ...torchvision('wide_resnet50_2-95faca4d', wide(50), '131.82 MiB', 78.468, bsd),
  ...torchvision('wide_resnet50_2-9ba9bcbe', wide(50), '263.124 MiB', 81.602, bsd2),
  ...torchvision('wide_resnet101_2-32ee1156', wide(101), '242.896 MiB', 78.848, bsd),
  ...torchvision('wide_resnet101_2-d733dc28', wide(101), '484.747 MiB', 82.51, bsd2),
}

/** torchvision's own file, a pickle; its name ends in the first digits of its SHA-256. */
function torchvision(
  file: string,
  architecture: Architecture,
  size: string,
  top1: number,
  rest: Pick<Checkpoint, 'licence' | 'preprocessing'>,
): { [name: string]: Checkpoint } {
  return { [file]: { from: torch(file), architecture, sha256: file.split('-')[1]!, size, top1, ...rest } }
}
