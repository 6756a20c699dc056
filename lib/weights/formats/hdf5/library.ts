// The HDF5 library, isolated on a worker thread: one request at a time, with a watchdog.
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { packageRoot } from '../../../base/package-root.ts'
import { product } from '../../../model/product.ts'
import { storedBytes } from '../../tensors/stored-type.ts'
import { partBytes } from './data.ts'
import { type Reply, type Request, sign, type ThreadData } from './messages.ts'

// What is built is what runs, also from the sources: Node has no TypeScript on threads before version 22.
const thread = join(packageRoot, 'dist', 'weights', 'formats', 'hdf5', 'thread.js')

// How long it may work without a sign of life, the time in which the system reads aside. Objects take microseconds; of data a part
// or a compressed chunk, which may be all of a dataset, comes between two signs.
const patienceMs = 250
const patienceMsPerByte = 50 / 2 ** 20
const tickMs = 50

/** Why a request has no reply: the thread has ended, or was. */
export class LibraryLost extends Error {}

/** A thread with the library. Holds one open file. */
export class Hdf5Library {
  #waiting: { resolve(reply: Reply): void; reject(error: Error): void } | undefined
  #lost: LibraryLost | undefined
  #queue: Promise<unknown> = Promise.resolve()
  #memory = new ArrayBuffer(partBytes) // for values; the thread's while it reads

  private constructor(
    private readonly worker: Worker,
    private readonly signs: Int32Array<SharedArrayBuffer>,
  ) {
    worker.on('message', (reply: Reply) => this.#waiting?.resolve(reply))
    worker.on('error', error => this.#lose(error.message))
    worker.on('exit', () => this.#lose('its thread has ended'))
  }

  /** A thread of 40 MB and, on a machine at rest, 100 ms. */
  static async start(): Promise<Hdf5Library> {
    const signs = new Int32Array(new SharedArrayBuffer(8))
    const worker = new Worker(thread, {
      workerData: { signs } satisfies ThreadData,
      resourceLimits: { maxOldGenerationSizeMb: 256 }, // a hostile file's names; tensors are not in there
      execArgv: [],
      stdout: true, // the library's own words
      stderr: true,
    })
    worker.stdout.resume()
    worker.stderr.resume()
    await new Promise<void>((resolve, reject) => {
      worker.once('message', () => resolve())
      worker.once('error', reject)
      worker.once('exit', code => reject(new LibraryLost(`its thread ended with ${code}`)))
    })
    worker.unref()
    return new Hdf5Library(worker, signs)
  }

  /** Whether it can be asked for nothing more. */
  get lost(): boolean {
    return this.#lost !== undefined
  }

  /**
   * What is read of a dataset is put into `values`, which has as many as the part.
   *
   * @throws LibraryLost
   */
  request(request: Request, values?: Float32Array): Promise<Reply> {
    const reply = this.#queue.then(() => this.#ask(request, values))
    this.#queue = reply.catch(() => {})
    return reply
  }

  async end(): Promise<void> {
    await this.worker.terminate()
  }

  async #ask(request: Request, values?: Float32Array): Promise<Reply> {
    if (this.#lost) throw this.#lost
    const reply = new Promise<Reply>((resolve, reject) => {
      this.#waiting = { resolve, reject }
    })
    this.worker.ref()
    const memory = request.kind === 'read' ? [this.#memory] : []
    this.worker.postMessage({ ...request, memory: memory[0] }, memory)
    const watch = this.#watch(patienceOf(request))
    try {
      const said = await reply
      if (said.memory) this.#memory = said.memory
      if ('read' in said) values?.set(new Float32Array(this.#memory, 0, values.length))
      if ('failure' in said && said.failure.fatal) {
        this.#lose('it is in no state to go on')
        await this.end()
      }
      return said
    } finally {
      clearInterval(watch)
      this.#waiting = undefined
      this.worker.unref()
    }
  }

  /** Adds up the time in which it may have worked: this process's, as the clock goes on while the machine is busy elsewhere. */
  #watch(patience: number): NodeJS.Timeout {
    let stillMs = 0
    let last = { progress: Atomics.load(this.signs, sign.progress), ...timesMs() }
    return setInterval(() => {
      const now = { progress: Atomics.load(this.signs, sign.progress), ...timesMs() }
      const still = now.progress === last.progress && Atomics.load(this.signs, sign.reading) === 0
      stillMs = still ? stillMs + Math.min(now.clock - last.clock, now.processor - last.processor) : 0
      last = now
      if (stillMs < patience) return
      this.#lose(`the HDF5 library comes to no end with it`)
      void this.end()
    }, tickMs)
  }

  #lose(message: string): void {
    this.#lost ??= new LibraryLost(message)
    this.#waiting?.reject(this.#lost)
  }
}

function patienceOf(request: Request): number {
  const shape = request.kind === 'read' ? request.dataset.shape : [0]
  return patienceMs + patienceMsPerByte * product([storedBytes.F32, ...shape])
}

function timesMs(): { readonly clock: number; readonly processor: number } {
  const { user, system } = process.cpuUsage()
  return { clock: performance.now(), processor: (user + system) / 1000 }
}
