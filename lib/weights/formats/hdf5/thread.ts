// The worker thread that runs the HDF5 library: opens one file, reports its tree, reads datasets on request. A damaged file can
// make the library loop forever or access invalid memory; on a thread of its own it takes only the thread down.
import { parentPort, workerData } from 'node:worker_threads'
import { product } from '../../../model/product.ts'
import { readFloats } from './data.ts'
import { FileDevice, FileProblem, type FileSystem } from './file-device.ts'
import { locate } from './locate.ts'
import {
  type Failure,
  type OpenRequest,
  type ReadRequest,
  type Received,
  type Reply,
  sign,
  type ThreadData,
} from './messages.ts'
import { type Hdf5Module, readTree } from './tree.ts'

const mostMemory = 96 << 20 // of the library: 20 MB of its own; the rest is for parts of datasets and compressed chunks
const expansion = 16 // the most that data may grow when decompressed: weights hardly grow
const floor = 1 << 20 // small files may claim more

/** Only the part that is used: a browser's types are not loaded here. */
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: {
    Memory: { prototype: { grow(this: { readonly buffer: ArrayBuffer }, pages: number): number } }
    RuntimeError: new () => Error
  }
}
const { signs } = workerData as ThreadData
limitMemory()
const { default: h5wasm, Attribute } = await import('h5wasm')
const library = await h5wasm.ready
const module = library as unknown as Hdf5Module
const fs = library.FS as unknown as FileSystem

let device: FileDevice | undefined
let file = -1n

parentPort!.on('message', (request: Received) => {
  const memory = request.kind === 'read' ? [request.memory] : []
  const answer = (reply: Reply) => parentPort!.postMessage({ ...reply, memory: memory[0] }, memory)
  try {
    if (request.kind === 'open') answer({ tree: open(request) })
    else if (request.kind === 'read') answer({ read: read(request, request.memory) })
    else answer({ closed: close() })
  } catch (error) {
    answer({ failure: failureOf(error) })
  }
})
parentPort!.postMessage('ready')

function open({ descriptor, offset, size, attributes }: OpenRequest) {
  device = new FileDevice(descriptor, offset, size, signs)
  device.mount(fs)
  device.allow(2 * device.size + floor)
  file = module.open(device.devicePath, /*mode: read only*/ 0, /*trackOrder=*/ false, -1, -1)
  if (file < 0n) {
    device.check()
    throw new FileProblem('invalid', 'it is damaged or not an HDF5 file')
  }
  const opened = file
  const tree = readTree(
    module,
    opened,
    attributes,
    (path, name) => new Attribute(opened, path, name).value,
    (dataset, metadata) => locate(module, opened, device!, dataset, metadata),
    progress,
  )
  const bytes = tree.datasets.reduce((sum, { shape }) => sum + 4 * product(shape), 0)
  const most = expansion * device.size + floor
  if (bytes > most)
    throw new FileProblem('invalid', `its data claims ${bytes} bytes, but the file has ${device.size}`)
  return tree
}

function close(): true {
  if (file >= 0n) module.close_file(file)
  file = -1n
  device?.close(fs)
  device = undefined
  return true
}

function read({ dataset, part }: ReadRequest, memory: ArrayBuffer): true {
  progress()
  device!.allow(device!.size + floor)
  readFloats(module, file, dataset, part, memory)
  device!.check()
  return true
}

function progress(): void {
  Atomics.add(signs, sign.progress, 1)
}

function failureOf(error: unknown): Failure {
  const fatal = error instanceof WebAssembly.RuntimeError
  try {
    device?.check() // if the file cannot be read, the library's error is not the cause
  } catch (problem) {
    return { reason: 'unreadable', message: (problem as Error).message, fatal }
  }
  const message = error instanceof Error ? error.message : 'the HDF5 library failed'
  if (error instanceof FileProblem) return { reason: error.reason, message, fatal }
  if (error instanceof RangeError) return { reason: 'memory', message, fatal }
  return {
    reason: 'invalid',
    message: fatal ? `it crashes the HDF5 library: ${message}` : message,
    fatal,
  }
}

/** A file can make the library ask for any amount of memory. It reports an error if refused. */
function limitMemory(): void {
  const { grow } = WebAssembly.Memory.prototype
  WebAssembly.Memory.prototype.grow = function (pages) {
    if (this.buffer.byteLength + pages * 65536 > mostMemory)
      throw new RangeError('the HDF5 library asked for too much memory')
    return grow.call(this, pages)
  }
}
