// Find similar images: the features before the last layer are an embedding, and the cosine between two of them is a similarity.
//
//   node examples/neighbours.mjs [IMAGE ...]
//
// Beyond a few hundred thousand images, put the embeddings in a vector index instead of comparing all pairs.

import { readdir } from 'node:fs/promises'
import { load } from 'residual'

const images = process.argv.slice(2)
if (images.length === 0) images.push(...(await readdir('samples')).sort().map(name => `samples/${name}`))

const classifier = await load('resnet50-cifar10')
const embeddings = []
for await (const result of classifier.each(images, { outputs: ['features'] })) {
  if ('error' in result) throw result.error
  embeddings.push(normalize(result.outputs.features))
}
await classifier.close()

for (const [i, embedding] of embeddings.entries()) {
  const others = embeddings.flatMap((other, j) =>
    j === i ? [] : [{ image: images[j], cosine: dot(embedding, other) }],
  )
  const nearest = others.reduce((best, other) => (other.cosine > best.cosine ? other : best))
  console.log(`${images[i]}: nearest is ${nearest.image} (${nearest.cosine.toFixed(3)})`)
}

function dot(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0)
}

function normalize(vector) {
  const norm = Math.sqrt(dot(vector, vector))
  return vector.map(value => value / norm)
}
