// Which networks are called ResNets and are none that can be run here? They are recognised by tensors that others lack.

interface Unsupported {
  readonly what: string
  /** A name in the file, behind any prefix. */
  readonly mark: RegExp
}

/** The first that fits counts. */
const unsupported: readonly Unsupported[] = [
  { what: 'a ResNet of CLIP (a stem of three convolutions, attention for a pool)', mark: /attnpool\./ },
  { what: 'a ResNeSt (split attention)', mark: /layer1\.0\.conv2\.(conv|bn0|fc1)\./ },
  { what: 'an SK-ResNet (selective kernels)', mark: /layer1\.0\.conv\d\.attn\./ },
  { what: 'a Res2Net (a hierarchy of convolutions in a block)', mark: /layer1\.0\.convs\.0\./ },
  {
    what: 'a ResNet with attention in its blocks (SE, ECA or the like)',
    mark: /layer1\.0\.(se|se_module|attn|eca)\.|_se(_block)?[_/]|\.short\.se|bb_0_0\.scale/,
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
]

/** What a file with tensors of these names holds, and by which name that shows; undefined where nothing tells. */
export function findUnsupported(names: Iterable<string>): { what: string; name: string } | undefined {
  const all = [...names]
  for (const { what, mark } of unsupported) {
    const name = all.find(each => mark.test(each))
    if (name !== undefined) return { what, name }
  }
  return undefined
}
