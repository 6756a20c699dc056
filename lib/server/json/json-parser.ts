// Worker threads that parse large JSON, so that other requests are answered meanwhile.
import { once } from 'node:events'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { packageRoot } from '../../base/package-root.ts'
import { TaskLimit } from '../../base/task-limit.ts'
import { type ErrorCode, ResidualError } from '../../errors.ts'
import type { ParsedJson } from './json.ts'

/** A request to the thread. */
export interface JsonQuestion {
  readonly json: Uint8Array
  readonly binaryLength: number | undefined
  /** Of BYTES tensors: more are not read. */
  readonly mostElements: number
}

export type JsonAnswer =
  | { readonly request: ParsedJson }
  | { readonly error: { readonly code: ErrorCode; readonly message: string } }

/** The built file, even if the rest runs from its sources: Node does not run TypeScript. */
const script = join(packageRoot, 'dist', 'server', 'json', 'json-worker.js')

export class JsonParser {
  readonly #limit: TaskLimit
  readonly #idle: Worker[] = []
  readonly #all = new Set<Worker>()

  /** Starts up to `threads` threads on demand, for up to `maxWaiting` requests at a time. */
  constructor(threads: number, maxWaiting: number) {
    this.#limit = new TaskLimit(threads, maxWaiting)
  }

  /**
   * Like `parseJson`, with the values of all tensors read. `json` is copied immediately.
   *
   * @throws ResidualError REQUEST_INVALID, REQUEST_TOO_LARGE, QUEUE_FULL, or the signal's reason
   */
  async parse(json: Uint8Array, about: Omit<JsonQuestion, 'json'>, signal: AbortSignal): Promise<ParsedJson> {
    const answer = await this.#limit.run(() => this.#ask({ json: new Uint8Array(json), ...about }), signal)
    if ('request' in answer) return answer.request
    throw new ResidualError(answer.error.code, answer.error.message)
  }

  /** Ends all threads. */
  async close(): Promise<void> {
    await Promise.all([...this.#all].map(worker => worker.terminate()))
  }

  async #ask(question: JsonQuestion): Promise<JsonAnswer> {
    const worker = this.#idle.pop() ?? this.#start()
    const answered = once(worker, 'message') // rejects with an error of the worker
    worker.postMessage(question, [question.json.buffer as ArrayBuffer])
    const [answer] = await answered
    this.#idle.push(worker)
    return answer
  }

  #start(): Worker {
    const worker = new Worker(script)
    worker.unref()
    worker.on('error', () => {}) // whoever waits for its answer gets the error
    this.#all.add(worker)
    worker.once('exit', () => this.#all.delete(worker))
    return worker
  }
}
