// The definition of a naming scheme: where a file has the tensors of a ResNet, and the conventions that come with those names.

/**
 * Layers of one convolution and its batch normalisation, as templates. `{i}` is the stage from 1 to 4, `{j}` the block from 0,
 * `{k}` the convolution from 1; `{i+1}` and the like count differently, `{k:a}` is a letter. `{j:a}` is `a`, `b`, `c`... or, in
 * deep Caffe networks, `a`, `b1`, `b2`...: whichever the file has. `{n}` is the block from 0 through all stages; each stage
 * begins with a block that has a projection (the first may have none).
 */
export interface LayerNames {
  readonly conv: string
  /** Absent if batch norms have been folded into the convolutions. */
  readonly norm?: string
  /** Caffe: the layer that holds the scale and offset of the batch norm. */
  readonly scale?: string
}

/** The tensors read from a file, as templates with the layer's names `{conv}`, `{norm}`, `{scale}` and `{classifier}`. */
export interface TensorNames {
  readonly weight: string
  /** The convolution's bias, if the file has it. */
  readonly bias?: string
  readonly gamma?: string
  readonly beta?: string
  readonly mean?: string
  readonly variance?: string
  /** Caffe: the divisor of mean and variance. */
  readonly factor?: string
  readonly linearWeight: string
  readonly linearBias: string
}

export interface Scheme {
  readonly name: string
  /** A file with all these tensors under one prefix belongs to the scheme. */
  readonly marks: readonly string[]
  /** One layer, or the three of a deep stem. */
  readonly stem: readonly [LayerNames] | readonly [LayerNames, LayerNames, LayerNames]
  readonly block: LayerNames
  readonly projection: LayerNames
  readonly classifier: string
  readonly tensors: TensorNames
  /** The layout of convolutions: output channels first, or last. */
  readonly convLayout: 'KCRS' | 'RSCK'
  readonly linearLayout: 'KC' | 'CK'
  /** Where such networks have a bottleneck's stride, unless a record says otherwise. */
  readonly stride: 'v1' | 'v1.5'
  readonly epsilon: number
  /** Whether such networks have an average pool before projections, which no tensor reveals. */
  readonly averagedShortcut?: boolean
  /** The preprocessing of such networks, unless a record says otherwise. */
  readonly input: 'imagenet' | 'caffe'
}
