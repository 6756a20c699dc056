// What files hold that are no ResNets that can be run here: networks of other kinds, told by tensors that others lack, and no networks
// at all, told by what all tensors are called.

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
}

/** The first that fits counts. */
const unsupported: readonly Known[] = [
  { what: 'a ResNet of CLIP (a stem of three convolutions, attention for a pool)', mark: /attnpool\./ },
  { what: 'a ResNeSt (split attention)', mark: /layer1\.0\.conv2\.(conv|bn0|fc1)\./ },
  { what: 'an SK-ResNet (selective kernels)', mark: /layer1\.0\.conv\d\.attn\./ },
  { what: 'a Res2Net (a hierarchy of convolutions in a block)', mark: /layer1\.0\.convs\.0\./ },
  {
    what: 'a ResNet with attention in its blocks (SE, ECA or the like)',
    mark: /layer1\.0\.(se|se_module|attn|eca)\.|_se(_block)?[_/]|\.short\.se|bb_0_0\.scale|_sqz_weights$/,
  },
  { what: 'a ResNet-RS (a convolution in place of the max pool)', mark: /(^|\.)maxpool\.0\.weight$/ },
  { what: "a ResNet-C or -D with OpenMMLab's names", mark: /(^|\.)backbone\.stem\.0\.weight$/ },
  {
    what: 'a ResNet v2 (batch norms before convolutions)',
    mark: /_preact_bn\/|stages\.0\.blocks\.0\.norm1\.|layer1\.0\.norm1\.|root_block|(^|[./])block1\.unit01\./,
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
]

/** What a file with tensors of these names holds, and by which name that shows; undefined where nothing tells. */
export function findUnsupported(
  tensors: Iterable<string>,
): (Unsupported & { readonly name: string }) | undefined {
  const names = [...tensors]
  for (const { mark, all, ...found } of unsupported) {
    if (all && !names.every(each => mark.test(each))) continue
    const name = names.find(each => mark.test(each))
    if (name !== undefined) return { ...found, name }
  }
  return undefined
}
