// The datasets of an HDF5 file, and parts of them.

/** A part of a dataset. */
export interface DatasetPart {
  readonly offset: readonly number[]
  readonly count: readonly number[]
  readonly length: number
}

/** A dataset of an HDF5 file. */
export interface Dataset {
  /** The names of its groups and its own, from the root: `['model_weights', 'conv1_conv', ...]`. */
  readonly path: readonly string[]
  readonly shape: readonly number[]
  /** As safetensors names it; for other types, `HDF5 class 3`. */
  readonly dtype: string
  /**
   * Where in the open file its numbers are stored contiguously; undefined if the library has to read them because they are
   * compressed, chunked, of another byte order, in a header, or missing.
   */
  readonly at: number | undefined
}

/** The contents of a file. */
export interface Tree {
  readonly datasets: readonly Dataset[]
  /** The requested attributes of groups that are single strings, by the group's path, joined by `/`. */
  readonly attributes: ReadonlyMap<string, ReadonlyMap<string, string>>
}
