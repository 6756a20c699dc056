// The number of elements of a shape.

/** The product of `shape`, 1 where that is empty. Of what a file or a request claims it may be inexact, or infinite. */
export const product = (shape: readonly number[]): number => shape.reduce((length, size) => length * size, 1)
