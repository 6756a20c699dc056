// The definition of a naming scheme: where a file has the tensors of a ResNet, and the conventions that come with those names.

/**
 * Layers of one convolution and its batch normalisation, as templates. `{i}` is the stage from 1 to 4, `{j}` the block from 0, `{k}`
 * the convolution from 1; `{i+1}` and the like count otherwise, `{k:a}` is a letter. `{j:a}` is `a`, `b`, `c`... or, as deep Caffe
 * networks have it, `a`, `b1`, `b2`...: whichever the file has. `{n}` is the block from 0 through all stages, each of which begins with
 * a block that has a projection (the first may have none).
 */
export interface LayerNames {
  readonly conv: string
  /** Absent where batch norms have been folded into the convolutions. */
  readonly norm?: string
  /** Caffe: the layer that holds the scale and offset of the batch norm. */
  readonly scale?: string
}

/** What is read of a file, as templates in which `{conv}`, `{norm}`, `{scale}` and `{classifier}` are the layer's names. */
export interface TensorNames {
  readonly weight: string
  /** Added to what the convolution gives, where the file has it. */
  readonly bias?: string
  readonly gamma?: string
  readonly beta?: string
  readonly mean?: string
  readonly variance?: string
  /** Caffe: what mean and variance are to be divided by. */
  readonly factor?: string
  readonly linearWeight: string
  readonly linearBias: string
}

export interface Scheme {
  readonly name: string
  /** A file that has these tensors, behind one prefix, is taken for one of the scheme. */
  readonly marks: readonly string[]
  /** One layer, or the three of a deep stem. */
  readonly stem: readonly [LayerNames] | readonly [LayerNames, LayerNames, LayerNames]
  readonly block: LayerNames
  readonly projection: LayerNames
  readonly classifier: string
  readonly tensors: TensorNames
  /** Of convolutions: output channels first, or last. */
  readonly convLayout: 'KCRS' | 'RSCK'
  readonly linearLayout: 'KC' | 'CK'
  /** Where such networks have the stride of a bottleneck, unless something beside the file says otherwise. */
  readonly stride: 'v1' | 'v1.5'
  readonly epsilon: number
  /** Whether such networks have an average pool before projections, which no tensor tells. */
  readonly averagedShortcut?: boolean
  /** What such networks take, unless something beside the file says otherwise. */
  readonly input: 'imagenet' | 'caffe'
}
