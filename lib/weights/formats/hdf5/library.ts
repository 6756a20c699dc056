// The HDF5 library, isolated on a worker thread: one request at a time, with a watchdog.
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { packageRoot } from '../../../base/package-root.ts'
import { product } from '../../../model/product.ts'
import { storedBytes } from '../../tensors/stored-type.ts'
import { partBytes } from './data.ts'
import { type Reply, type Request, sign, type ThreadData } from './messages.ts'

// The built file runs even from the sources: Node has no TypeScript on threads before version 22.
const thread = join(packageRoot, 'dist', 'weights', 'formats', 'hdf5', 'thread.js')

// How long it may work without a sign of life, not counting the system's reads. Objects take microseconds; for data, a part
// or a compressed chunk, which may be a whole dataset, comes between two signs.
const patienceMs = 250
const patienceMsPerByte = 50 / 2 ** 20
const tickMs = 50

/** A request has no reply because the thread has ended. */
export class LibraryLost extends Error {}

/** A thread that runs the library, with one open file at a time. */
export class Hdf5Library {
  #waiting: { resolve(reply: Reply): void; reject(error: Error): void } | undefined
  #lost: LibraryLost | undefined
  #queue: Promise<unknown> = Promise.resolve()
  #memory = new ArrayBuffer(partBytes) // for values; owned by the thread while it reads

  private constructor(
    private readonly worker: Worker,
    private readonly signs: Int32Array<SharedArrayBuffer>,
  ) {
    worker.on('message', (reply: Reply) => this.#waiting?.resolve(reply))
    worker.on('error', error => this.#lose(error.message))
    worker.on('exit', () => this.#lose('its thread has ended'))
  }

  /** Starts a thread, which takes 40 MB and, on an idle machine, 100 ms. */
  static async start(): Promise<Hdf5Library> {
    const signs = new Int32Array(new SharedArrayBuffer(8))
    const worker = new Worker(thread, {
      workerData: { signs } satisfies ThreadData,
      resourceLimits: { maxOldGenerationSizeMb: 256 }, // room for a hostile file's names; tensors are elsewhere
      execArgv: [],
      stdout: true, // swallows the library's own output
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

  /** Whether it is unusable. */
  get lost(): boolean {
    return this.#lost !== undefined
  }

  /**
   * Sends a request. The numbers of a dataset's part go to `values`, which must have its length.
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
        this.#lose('it is in an unusable state')
        await this.end()
      }
      return said
    } finally {
      clearInterval(watch)
      this.#waiting = undefined
      this.worker.unref()
    }
  }

  /**
   * Measures how long it may have worked in this process's time, because the clock also runs while the machine is busy elsewhere.
   */
  #watch(patience: number): NodeJS.Timeout {
    let stillMs = 0
    let last = { progress: Atomics.load(this.signs, sign.progress), ...timesMs() }
    return setInterval(() => {
      const now = { progress: Atomics.load(this.signs, sign.progress), ...timesMs() }
      const still = now.progress === last.progress && Atomics.load(this.signs, sign.reading) === 0
      stillMs = still ? stillMs + Math.min(now.clock - last.clock, now.processor - last.processor) : 0
      last = now
      if (stillMs < patience) return
      this.#lose(`the HDF5 library does not finish reading it`)
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
