// Conversion of images from NHWC to the NCHW of other frameworks.

/** Transposes `[N,H,W,C]` to `[N,C,H,W]`. */
export function toNchw(
  data: Float32Array,
  [n, h, w, c]: readonly [number, number, number, number],
): Float32Array {
  const result = new Float32Array(data.length)
  let at = 0
  for (let i = 0; i < n; i++)
    for (let k = 0; k < c; k++) for (let p = 0; p < h * w; p++) result[at++] = data[(i * h * w + p) * c + k]!
  return result
}
