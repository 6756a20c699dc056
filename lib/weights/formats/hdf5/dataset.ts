// The datasets of an HDF5 file, and parts of them.

/** A part of a dataset. */
export interface DatasetPart {
  readonly offset: readonly number[]
  readonly count: readonly number[]
  readonly length: number
}

/** A dataset of an HDF5 file. */
export interface Dataset {
  /** Names of groups and its own, from the root: `['model_weights', 'conv1_conv', ...]`. */
  readonly path: readonly string[]
  readonly shape: readonly number[]
  /** In safetensors' words; of types it has no word for, `HDF5 class 3`. */
  readonly dtype: string
  /**
   * Where in the opened file its numbers lie as they are, one after another; undefined where the library has to read them: they
   * are compressed, in chunks, of another byte order, in a header, or not there.
   */
  readonly at: number | undefined
}

/** What a file has in it. */
export interface Tree {
  readonly datasets: readonly Dataset[]
  /** Those attributes of groups that were asked for and are single strings, by the group's names joined by `/`. */
  readonly attributes: ReadonlyMap<string, ReadonlyMap<string, string>>
}
