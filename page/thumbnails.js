// A thumbnail of an image, with or without the map of where the network looked.

const largestSide = 512

/** The image compressed and no larger than it is shown, and the scale that takes. */
export async function readImage(file) {
  const bitmap = await createImageBitmap(file)
  const scale = Math.min(1, largestSide / Math.max(bitmap.width, bitmap.height))
  const [width, height] = [bitmap.width, bitmap.height].map(side => Math.max(1, Math.round(side * scale)))
  const image = new OffscreenCanvas(width, height)
  const context = image.getContext('2d')
  context.imageSmoothingQuality = 'high'
  context.drawImage(bitmap, 0, 0, width, height)
  bitmap.close() // all of its pixels would be kept otherwise
  return { packed: await image.convertToBlob({ type: 'image/webp', quality: 0.9 }), scale }
}

export async function drawImage(canvas, { packed, scale }, map, view) {
  const bitmap = await createImageBitmap(packed)
  canvas.width = bitmap.width
  canvas.height = bitmap.height
  const context = canvas.getContext('2d')
  context.imageSmoothingQuality = 'high'
  context.drawImage(bitmap, 0, 0)
  bitmap.close()
  if (!map) return
  context.globalAlpha = 0.55
  const rectangle = [view.left, view.top, view.width, view.height].map(length => length * scale)
  context.drawImage(heat(map), ...rectangle)
}

/** From cold to hot, the same as `residual classify --cam`. */
const ramp = [
  [13, 8, 65],
  [95, 20, 140],
  [190, 50, 95],
  [245, 130, 35],
  [252, 253, 170],
]

/** The map as a small image, its lowest value cold and its highest hot. */
function heat({ height, width, values }) {
  const canvas = new OffscreenCanvas(width, height)
  const context = canvas.getContext('2d')
  const image = context.createImageData(width, height)
  let [least, most] = [Infinity, -Infinity]
  for (const value of values) {
    least = Math.min(least, value)
    most = Math.max(most, value)
  }
  const range = most - least || 1
  values.forEach((value, i) => {
    const at = ((value - least) / range) * (ramp.length - 1)
    const step = Math.min(Math.floor(at), ramp.length - 2)
    ramp[step].forEach((low, c) => {
      image.data[i * 4 + c] = low + (at - step) * (ramp[step + 1][c] - low)
    })
    image.data[i * 4 + 3] = 255
  })
  context.putImageData(image, 0, 0)
  return canvas
}
