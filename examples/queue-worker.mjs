// Work through a queue of jobs: bounded concurrency, retries for what may pass, and an end that loses no job.
//
//   node examples/queue-worker.mjs [IMAGE ...]
//
// The queue here is p-queue, in this process. With BullMQ the body of work() becomes the processor of a Worker, and BullMQ does
// the retrying: throw UnrecoverableError where this returns { error }.
import PQueue from 'p-queue'
import { Batcher, load, ResidualError } from 'residual'

const images = process.argv.slice(2)
if (images.length === 0) images.push('samples/ship.jpg', 'samples/missing.jpg', 'samples/truck.jpg')

const classifier = await load('resnet50-cifar10')
const batcher = new Batcher([classifier.session], { maxBatch: 8, maxWaitMs: 5 })
const queue = new PQueue({ concurrency: 16 }) // more than a batch, so that the next one fills while one runs
const permanent = new Set(['FILE_NOT_FOUND', 'DECODE_FAILED', 'PICTURE_TOO_LARGE'])

async function work(image, attempts = 3) {
  try {
    const { pixels } = await classifier.prepare(image)
    const { outputs } = await batcher.run(pixels, { outputs: ['probabilities'] })
    return { image, ...classifier.top(outputs.probabilities, 1)[0] }
  } catch (error) {
    if (error instanceof ResidualError && permanent.has(error.code)) return { image, error: error.code }
    if (attempts === 1) throw error
    return work(image, attempts - 1)
  }
}

const results = await Promise.all(images.map(image => queue.add(() => work(image))))
for (const { image, label, error } of results) console.log(`${image}: ${label ?? error}`)

await batcher.close()
await classifier.close()
