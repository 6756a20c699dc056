// A value of a plan: its shape, and the precision its numbers are kept in.

/** One image's worth of a value, `[height, width, channels]`; a batch adds N in front. */
export interface Shape {
  readonly height: number
  readonly width: number
  readonly channels: number
}

/** How numbers are kept, the same for every backend. `core::kPrecisions` is its twin. */
export const valuePrecisions = {
  fp32: { bytes: 4, scaled: false },
  bf16: { bytes: 2, scaled: false },
  fp16: { bytes: 2, scaled: false },
  int8: { bytes: 1, scaled: true },
  uint8: { bytes: 1, scaled: true },
} as const
export type ValuePrecision = keyof typeof valuePrecisions
export type ScaledPrecision = 'int8' | 'uint8'

/** How a value's numbers are kept: as float32 unless said. One of `int8` or `uint8` stands for that many times the `scale`. */
export type Kept =
  | { readonly precision?: Exclude<ValuePrecision, ScaledPrecision>; readonly scale?: undefined }
  | { readonly precision: ScaledPrecision; readonly scale: number }

/** A value and how it is kept. What `normalize` writes as `uint8`, of scale 1, are the image's bytes as they are. */
export type PlanValue = Shape & Kept

export function elements(shape: Shape): number {
  return shape.height * shape.width * shape.channels
}

/** Of one image. */
export function valueBytes(value: PlanValue): number {
  return elements(value) * valuePrecisions[value.precision ?? 'fp32'].bytes
}

export function shapeText({ height, width, channels }: Shape): string {
  return `${height}x${width}x${channels}`
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.height === b.height && a.width === b.width && a.channels === b.channels
}
