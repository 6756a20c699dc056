// Stream a folder to NDJSON: a line per image as its batch is done, in constant memory, however many there are.
//
//   node examples/folder-to-ndjson.mjs [FOLDER] > results.ndjson
import { once } from 'node:events'
import { opendir } from 'node:fs/promises'
import { join } from 'node:path'
import { load } from 'residual'

const [folder = 'samples'] = process.argv.slice(2)

async function* imagesIn(root) {
  for await (const entry of await opendir(root, { recursive: true }))
    if (entry.isFile() && /\.(jpe?g|png|webp|gif|tiff?|avif)$/i.test(entry.name))
      yield join(entry.parentPath ?? entry.path, entry.name)
}

const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

const classifier = await load('resnet50-cifar10')
const results = classifier.each(imagesIn(folder), {
  batch: 16,
  outputs: ['probabilities'],
  signal: stop.signal,
})
try {
  for await (const result of results) {
    const line =
      'error' in result
        ? { image: result.image, error: result.error.message, code: result.error.code }
        : { image: result.image, ...classifier.top(result.outputs.probabilities, 1)[0] }
    if (!process.stdout.write(`${JSON.stringify(line)}\n`)) await once(process.stdout, 'drain') // a slow reader slows us
  }
} catch (error) {
  if (!stop.signal.aborted) throw error
  process.exitCode = 130
} finally {
  await classifier.close()
}
