// A worker thread that runs the installed package again and again until it is terminated.
import { parentPort, workerData } from 'node:worker_threads'

const { load } = await import(workerData.entry)
const classifier = await load('resnet50-cifar10', { threads: 2 })
const pixels = new Uint8Array(8 * 64 * 64 * 3).map((_, i) => i % 251)
const first = await classifier.run(pixels)
parentPort.postMessage(first.logits)
while (true) await classifier.run(pixels)
