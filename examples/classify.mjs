// Classify images: load a model once, pass paths or bytes, get the likeliest classes of each.
//
//   node examples/classify.mjs [IMAGE ...]
import { load } from 'residual'

const images = process.argv.slice(2)
if (images.length === 0) images.push('samples/ship.jpg', 'samples/frog.jpg')

const classifier = await load('resnet50-cifar10') // or the path of a checkpoint
const results = await classifier.classify(images, { topK: 2 })
for (const [i, predictions] of results.entries()) {
  const text = predictions.map(({ label, probability }) => `${label} ${(100 * probability).toFixed(1)} %`)
  console.log(`${images[i]}: ${text.join(', ')}`)
}
await classifier.close()
