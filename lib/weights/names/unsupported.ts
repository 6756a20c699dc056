// Networks that are recognised but not supported: other kinds, told by tensors that only they have, and non-networks, told by the
// names of all tensors.

/** What a file holds. */
export interface Unsupported {
  readonly what: string
  /** What can be done; where it is absent, nothing. */
  readonly remedy?: string
}

interface Known extends Unsupported {
  /** A name in the file, behind any prefix. */
  readonly mark: RegExp
  /** Whether all names have to be such. */
  readonly all?: true
  /** A name that it does not have. */
  readonly without?: RegExp
}

/** The first that fits counts: what many have stands behind what makes a network something of its own. */
const unsupported: readonly Known[] = [
  { what: 'a ResNet of CLIP (a stem of three convolutions, attention for a pool)', mark: /attnpool\./ },
  { what: 'a ResNet-RS (a convolution in place of the max pool)', mark: /(^|\.)maxpool\.0\.weight$/ },
  { what: 'a TResNet (a stem without a convolution of stride 2)', mark: /(^|\.)body\.layer1\.0\.conv1\./ },
  { what: 'an SK-ResNet (selective kernels)', mark: /layer1\.0\.conv\d\.(attn|paths)\./ },
  { what: 'a ResNeSt (split attention)', mark: /layer1\.0\.conv2\.(bn0|fc1)\./ },
  { what: 'a Res2Net (a hierarchy of convolutions in a block)', mark: /layer1\.0\.convs\.0\./ },
  { what: 'an HRNet (branches of several resolutions)', mark: /(^|\.)stage2\.0\.branches\./ },
  {
    what: 'a ResNet with attention in its blocks (SE, ECA or the like)',
    mark: /layer1\.0\.(se|se_module|attn|eca)\.|_se(_block)?[_/]|\.short\.se|bb_0_0\.scale|_sqz_weights$/,
  },
  { what: "a ResNet-C or -D with OpenMMLab's names", mark: /(^|\.)backbone\.stem\.0\.weight$/ },
  { what: 'a ResNet without norms (NF-ResNet)', mark: /(^|\.)stem\.conv\w*\.gain$/ },
  { what: 'a ConvNeXt', mark: /stages\.0\.blocks\.0\.(conv_dw|dwconv)\.|features\.1\.0\.layer_scale$|stages\.0\.layers\.0\.dwconv/ }, // biome-ignore format: short
  {
    what: 'a ResNet v2 (norms before convolutions)',
    mark: /_preact_bn\/|stages\.0\.blocks\.0\.norm1\.|layer1\.0\.norm1\.|root_block|(^|[./])block1\.unit01\./,
  },
  {
    what: 'a ResNet with group norms, which keep no statistics',
    mark: /(^|\.)layer1\.0\.bn1\.weight$/,
    without: /running_mean$/,
  },
  {
    what: "a network of blocks to choose from (timm's byobnet, as its ResNets of CLIP and eca_resnet33ts)",
    mark: /stages\.0\.0\.conv1_1x1\./,
  },
  { what: 'a RegNet', mark: /(^|\.)s1\.b1\.conv1\.|trunk_output\.block1|regnet\.encoder/ },
  {
    what: 'the state of an optimizer of PaddlePaddle',
    mark: /_(velocity|moment|moment[12]|moment2_max|beta[12]_pow_acc|momentum|mean_square|mean_grad|inf_norm|_avg_squared_(grad|update))_\d+$|^master_weights\.|^learning_rate_\d+$/,
    all: true,
    remedy: 'the weights are in the .pdparams file beside it',
  },
  {
    what: 'the state of an optimizer',
    mark: /^state\.\d+\./,
    all: true,
    remedy: 'the weights are in another file',
  },
  {
    what: 'parameters under the names that PaddlePaddle makes up for those without one',
    mark: /^(conv2d|batch_norm|batch_norm2d|linear|fc)_\d+\.[wb]_\d+$/,
    all: true,
    remedy: "save them under the names of their layers, by paddle.save(model.state_dict(), 'model.pdparams')",
  },
  { what: 'a DenseNet', mark: /(^|\.)features\.denseblock1\./ },
  { what: 'an Inception network', mark: /(^|\.)(Conv2d_1a_3x3|inception3a)\./ },
  { what: 'an EfficientNet or a MobileNet', mark: /(^|\.)conv_stem\.weight$|(^|\.)features\.1\.(0\.block|conv|block)\.0\.0\.weight$/ }, // biome-ignore format: short
  { what: 'a transformer (ViT, Swin or the like)', mark: /(^|\.)(cls_token|class_token|pos_embed)$|patch_embed\.proj\.|features\.0\.2\.weight$/ }, // biome-ignore format: short
  { what: 'a ShuffleNet', mark: /(^|\.)stage2\.0\.branch2\.0\.weight$/ },
  { what: 'a SqueezeNet', mark: /(^|\.)features\.3\.squeeze\.weight$/ },
  { what: 'a VGG or an AlexNet', mark: /(^|\.)features\.0\.weight$/ },
]

/** What a file with tensors of these names holds, and by which name that shows; undefined where nothing tells. */
export function findUnsupported(
  tensors: Iterable<string>,
): (Unsupported & { readonly name: string }) | undefined {
  const names = [...tensors]
  for (const { mark, all, without, ...found } of unsupported) {
    if (all && !names.every(each => mark.test(each))) continue
    if (without && names.some(each => without.test(each))) continue
    const name = names.find(each => mark.test(each))
    if (name !== undefined) return { ...found, name }
  }
  return undefined
}
