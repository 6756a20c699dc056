// Sessions of a network as it is tried: its weights are in memory, folded, and as integers for operations in int8.
import { elements, inputShape, type Plan } from '../model/plan.ts'
import {
  loadNative,
  type NativeSession,
  type Observation,
  translated,
  translatedLater,
} from '../runtime/native.ts'
import { readFolded, takesWeights, type WeightedOp } from '../weights/op-weights.ts'
import type { WeightSource } from '../weights/source.ts'
import type { QuantizedTensor } from '../weights/tensors/quantized-tensor.ts'
import { bytesOfImage, type Pixels } from './images.ts'

/** One operation's weights, `[K,...]`, and bias, `[K]`, with the batch norm folded in. */
export interface FoldedWeights {
  readonly weight: Float32Array
  readonly bias: Float32Array
}

/** The same, and rounded where the network is tried in int8. */
export interface TriedWeights extends FoldedWeights {
  readonly rounded?: QuantizedTensor
  /** The bias that goes with the rounded weights. */
  readonly roundedBias?: Float32Array
}

/** By operation. */
export type AllWeights = ReadonlyMap<string, TriedWeights>

/** The folded weights of a network by operation; `onOp` is called after each. */
export async function foldedWeights(
  plan: Plan,
  source: WeightSource,
  onOp: () => void,
): Promise<Map<string, FoldedWeights>> {
  const all = new Map<string, FoldedWeights>()
  for (const op of plan.ops.filter(takesWeights)) {
    all.set(op.name, await readFolded(plan, op, source))
    onOp()
  }
  return all
}

/** What was seen of a network with some images. */
export interface Seen {
  /** Of every operation's results, by operation of the plan. */
  readonly seen: readonly Observation[]
  /** By image. */
  readonly logits: readonly Float32Array[]
}

const imagesAtOnce = 16

/** A session on the CPU. Open until {@link dispose}. */
export class Trial {
  private constructor(
    private readonly plan: Plan,
    private readonly session: NativeSession,
  ) {}

  /** The instruction set in use. */
  get isa(): string {
    return this.session.description()
  }

  /** @throws ResidualError OUT_OF_MEMORY, NON_FINITE, PRECISION_UNSUPPORTED */
  static async open(plan: Plan, weights: AllWeights, threads: number): Promise<Trial> {
    return translatedLater(async () => {
      const isa = process.env.RESIDUAL_CPU_ISA ?? ''
      const session = new (loadNative().NativeSession)(plan, { threads, isa })
      try {
        for (const [i, op] of plan.ops.entries())
          if (takesWeights(op)) await load(session, plan, i, op, weights.get(op.name)!)
      } catch (error) {
        session.dispose()
        throw error
      }
      return new Trial(plan, session)
    })
  }

  /** The logits of each image. `onImages` is told how many more are done. */
  logits(images: readonly Pixels[], onImages: (count: number) => void = () => {}): Promise<Float32Array[]> {
    return this.#inBatches(images, onImages, batch => this.session.run(batch, ['logits']))
  }

  /** What is seen of the network with these images, and those of earlier calls. */
  async observe(images: readonly Pixels[], onImages: (count: number) => void = () => {}): Promise<Seen> {
    const logits = await this.#inBatches(images, onImages, batch => this.session.observe(batch, ['logits']))
    return { seen: this.session.observations(), logits }
  }

  /** Runs the network for one image and keeps what every operation computes, for {@link resultOf}. */
  async capture(image: Pixels): Promise<void> {
    const bytes = await bytesOfImage(image)
    await translatedLater(() => this.session.capture(bytes))
  }

  /** The results of the named operation for the image that was captured last. */
  resultOf(op: string): Float32Array {
    return translated(() => this.session.captured(this.plan.ops.findIndex(({ name }) => name === op)))
  }

  /** Milliseconds for a batch. */
  async time(batch: Uint8Array): Promise<number> {
    const begin = performance.now()
    await translatedLater(() => this.session.run(batch, ['logits']))
    return performance.now() - begin
  }

  dispose(): void {
    this.session.dispose()
  }

  /** The logits of each image, from what `run` comes to for batches. */
  async #inBatches(
    images: readonly Pixels[],
    onImages: (count: number) => void,
    run: (batch: Uint8Array) => ReturnType<NativeSession['run']>,
  ): Promise<Float32Array[]> {
    const results: Float32Array[] = []
    for (let begin = 0; begin < images.length; begin += imagesAtOnce) {
      const some = await Promise.all(images.slice(begin, begin + imagesAtOnce).map(bytesOfImage))
      const batch = joined(some, elements(inputShape(this.plan)))
      const { logits } = await translatedLater(() => run(batch))
      const classes = logits!.length / some.length
      for (let i = 0; i < some.length; i++) results.push(logits!.subarray(i * classes, (i + 1) * classes))
      onImages(some.length)
    }
    return results
  }
}

/** Images as one batch. */
export function joined(images: readonly Uint8Array[], bytes: number): Uint8Array {
  const batch = new Uint8Array(images.length * bytes)
  for (const [i, image] of images.entries()) batch.set(image, i * bytes)
  return batch
}

/** Whether an operation's weights are integers before the addon sees them: where it reads the image's bytes, it rounds them itself. */
function takesIntegers(plan: Plan, op: WeightedOp): boolean {
  const { precision } = plan.values[op.src]!
  const readsBytes = op.src === plan.ops[0]!.dst && precision === 'uint8'
  return (precision === 'int8' || precision === 'uint8') && !readsBytes
}

function load(
  session: NativeSession,
  plan: Plan,
  index: number,
  op: WeightedOp,
  its: TriedWeights,
): Promise<void> {
  if (!takesIntegers(plan, op)) {
    const ones = new Float64Array(its.bias.length).fill(1)
    return session.loadWeights(index, bytesOf(its.weight), 'KCRS', 'F32', ones, its.bias)
  }
  const { integers, scales } = its.rounded!
  return session.loadWeights(
    index,
    bytesOf(integers),
    'KCRS',
    'I8',
    Float64Array.from(scales),
    its.roundedBias!,
  )
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Int8Array) =>
  new Uint8Array(buffer, byteOffset, byteLength)
