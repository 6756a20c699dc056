// A model that is kept ready: loaded, warmed up, and reloaded without losing a request.
import { type Classifier, type LoadOptions, load } from '../../classifier.ts'
import { ResidualError } from '../../errors.ts'
import { elements, inputShape, type OutputName } from '../../model/plan.ts'
import { findModel } from '../../model-record.ts'
import { Batcher } from '../../runtime/batching/batcher.ts'
import type { BatcherOptions } from '../../runtime/batching/batcher-options.ts'
import type { SessionDevice } from '../../runtime/session.ts'
import { ModelStatistics } from './model-statistics.ts'

export interface ServedModelOptions {
  readonly instances: number
  readonly load: LoadOptions
  readonly batcher: BatcherOptions
}

/** A loaded version of a model. */
export interface LoadedModel {
  /** The first instance; all have the same labels and preprocessing. */
  readonly classifier: Classifier
  readonly batcher: Batcher
}

/** One load of a model, which is closed once it has been replaced and nobody uses it any more. */
interface Generation extends LoadedModel {
  readonly classifiers: readonly Classifier[]
  users: number
  unused: (() => void) | undefined
}

/** The only version of every model. */
export const modelVersion = '1'

/** The outputs that are served. Feature maps are too large. */
export const servedOutputs = ['logits', 'probabilities', 'features'] as const satisfies readonly OutputName[]
export type ServedOutput = (typeof servedOutputs)[number]

export class ServedModel {
  readonly name: string
  readonly statistics = new ModelStatistics()
  readonly #options: ServedModelOptions
  #generation: Generation | undefined
  #loading: Promise<void> | undefined
  /** The load that follows the current one. */
  #next: Promise<void> | undefined
  /** Generations being closed. */
  readonly #retiring = new Set<Promise<void>>()
  #closed = false

  /** @throws ResidualError MODEL_NOT_FOUND */
  constructor(
    readonly source: string,
    options: ServedModelOptions,
  ) {
    this.name = findModel(source).name
    this.#options = options
  }

  get ready(): boolean {
    return this.#generation !== undefined && !this.#closed
  }

  /** Its device; unknown until it has been loaded. */
  get device(): SessionDevice | undefined {
    return this.#generation?.classifier.session.device
  }

  /** Images waiting for a batch. */
  get waiting(): number {
    return this.#generation?.batcher.waiting ?? 0
  }

  /**
   * Loads or reloads the model: requests use the old one until the new one has been warmed up, and those that started with
   * the old one finish with it. If called again meanwhile, it loads once more afterwards, since the file may have changed after
   * it was read.
   *
   * @throws ResidualError whatever {@link load} throws; the old model then stays
   */
  load(): Promise<void> {
    if (this.#loading) {
      this.#next ??= this.#loading
        .catch(() => {}) // whoever asked for that has got the error
        .then(() => (this.#closed ? undefined : this.#load()))
      return this.#next
    }
    return this.#load()
  }

  /**
   * Runs `task` with the model, which stays open until it has settled.
   *
   * @throws ResidualError MODEL_NOT_READY
   */
  async use<T>(task: (model: LoadedModel) => Promise<T>): Promise<T> {
    const generation = this.#generation
    if (!generation || this.#closed) {
      throw new ResidualError('MODEL_NOT_READY', `The model ${this.name} is not ready. Try again later.`)
    }
    generation.users++
    try {
      return await task(generation)
    } finally {
      generation.users--
      if (generation.users === 0) generation.unused?.()
    }
  }

  /** Waits for the model's users and for any load in progress, then frees all memory. */
  async close(): Promise<void> {
    this.#closed = true
    await (this.#next ?? this.#loading)?.catch(() => {}) // whoever asked for it has got the error
    if (this.#generation) this.#retire(this.#generation)
    this.#generation = undefined
    await Promise.all(this.#retiring)
  }

  #load(): Promise<void> {
    this.#next = undefined
    this.#loading = this.#replace().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #replace(): Promise<void> {
    const next = await this.#open()
    if (this.#closed) return this.#retire(next)
    const last = this.#generation
    this.#generation = next
    if (last) this.#retire(last)
  }

  async #open(): Promise<Generation> {
    const { instances, load: options, batcher } = this.#options
    const classifiers: Classifier[] = []
    try {
      // The first one draws the maps of all.
      for (let i = 0; i < instances; i++)
        classifiers.push(await load(this.source, { ...options, activationMaps: i === 0 }))
      await Promise.all(classifiers.map(classifier => warmUp(classifier, options.maxBatch ?? 1)))
    } catch (error) {
      await Promise.all(classifiers.map(classifier => classifier.close()))
      throw error
    }
    return {
      classifier: classifiers[0]!,
      classifiers,
      batcher: new Batcher(
        classifiers.map(classifier => classifier.session),
        batcher,
      ),
      users: 0,
      unused: undefined,
    }
  }

  #retire(generation: Generation): void {
    const close = async () => {
      if (generation.users > 0)
        await new Promise<void>(resolve => {
          generation.unused = resolve
        })
      await generation.batcher.close()
      await Promise.all(generation.classifiers.map(classifier => classifier.close()))
    }
    const closing = close().finally(() => this.#retiring.delete(closing))
    this.#retiring.add(closing)
  }
}

/** Does what the first requests would otherwise wait for: memory is touched, and a GPU's batch sizes are compiled. */
async function warmUp({ session }: Classifier, maxBatch: number): Promise<void> {
  const perImage = elements(inputShape(session.plan))
  const sizes = [maxBatch]
  if (session.device.kind === 'cuda') for (let size = 1; size < maxBatch; size *= 2) sizes.push(size)
  for (const size of sizes) await session.run(new Uint8Array(size * perImage), { outputs: ['logits'] })
}
