// Show where the network looked: the class activation map of the likeliest class, laid over the image.
//
//   node examples/activation-map.mjs [IMAGE] [OUT.png]
//
// `residual classify --cam OUT.png IMAGE` does the same with a palette.

import { load } from 'residual'
import sharp from 'sharp'

const [image = 'samples/deer.jpg', out = 'activation-map.png'] = process.argv.slice(2)

const classifier = await load('resnet50-cifar10')
const { pixels, view } = await classifier.prepare(image) // view: the part of the image that the network sees
const { probabilities, featureMaps } = await classifier.run(pixels, {
  outputs: ['probabilities', 'featureMaps'],
})
const [best] = classifier.top(probabilities, 1)
const { map, width, height } = classifier.activationMap(featureMaps, best.index) // [height,width], of any range
await classifier.close()

const least = map.reduce((a, b) => Math.min(a, b))
const range = map.reduce((a, b) => Math.max(a, b)) - least || 1
const white = Buffer.alloc(4 * map.length, 255) // [height,width,4], opaque where the class was not seen
for (const [i, value] of map.entries()) white[4 * i + 3] = Math.round(200 * (1 - (value - least) / range))
const veil = await sharp(white, { raw: { width, height, channels: 4 } })
  .resize(Math.round(view.width), Math.round(view.height), { fit: 'fill' })
  .png()
  .toBuffer()
await sharp(image)
  .rotate() // upright by its EXIF data, as the network saw it
  .composite([{ input: veil, left: Math.round(view.left), top: Math.round(view.top) }])
  .toFile(out)
console.log(`${image}: ${best.label}, its map ${width}x${height} in ${out}`)
