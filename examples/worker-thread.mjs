// Classify on a worker thread: decoding and computing are off the event loop anyway, but a worker keeps its own work, such as
// reading results row by row, away from the main thread too.
//
//   node examples/worker-thread.mjs [IMAGE ...]
import { once } from 'node:events'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { load } from 'residual'

if (isMainThread) {
  const images = process.argv.slice(2)
  if (images.length === 0) images.push('samples/deer.jpg', 'samples/truck.jpg')
  const worker = new Worker(new URL(import.meta.url))
  for (const image of images) {
    worker.postMessage(image)
    const [answer] = await once(worker, 'message')
    console.log(`${image}: ${answer.label}`)
  }
  worker.postMessage(null)
  await once(worker, 'exit')
} else {
  const loading = load('resnet50-cifar10', { threads: 1 }) // a session per worker: give each a share of the cores
  parentPort.on('message', async image => {
    const classifier = await loading
    if (image === null) {
      await classifier.close()
      parentPort.close()
      return
    }
    const [[best]] = await classifier.classify([image], { topK: 1 })
    parentPort.postMessage(best)
  })
}
