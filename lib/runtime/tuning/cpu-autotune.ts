// Autotuning of convolutions on the CPU: the fastest algorithm for each, timed once and then remembered.
import { cpus } from 'node:os'
import { type Plan, planCost } from '../../model/plan.ts'
import { type NativeAddon, type NativeOptions, translateError } from '../native.ts'
import { type Choices, checkKept, choiceKey, readChoices, writeChoices } from './algorithm-cache.ts'
import { type Candidates, timeAlgorithms, unscaled } from './time-algorithms.ts'

/** Raise this with every change to `native/cpu` that may make another algorithm the fastest: older choices are then discarded. */
const kernelsVersion = 2
const mostImages = 8 // larger batches hardly differ
const worthwhile = 0.97 // of the fixed table's time: a smaller gain is likely noise, and the table is the same everywhere

type Asked = [
  addon: NativeAddon,
  plan: Plan,
  options: NativeOptions,
  maxBatch: number,
  planCache: string,
  signal?: AbortSignal,
]

/**
 * Chooses algorithms for a process's sessions. It keeps its choices, so that several sessions of a network that share a
 * server's work give the same results to the bit, even if nothing can be written.
 */
export class CpuAutotune {
  /** The algorithm by convolution, by everything that choices depend on. */
  readonly #chosen = new Map<string, Map<string, string>>()
  /** Measuring two at once would disturb both. */
  #last: Promise<unknown> = Promise.resolve()

  /**
   * The value of `NativeOptions.algorithms` for sessions of `plan` with `options`: one choice per operation, for all batch
   * sizes. If `planCache` is empty, nothing is read or written.
   *
   * @throws ResidualError OUT_OF_MEMORY, BACKEND_UNAVAILABLE, PLAN_INVALID, FILE_WRITE_FAILED before any timing if choices could
   *   not be stored; the signal's reason
   */
  choose(...asked: Asked): Promise<string[]> {
    const choice = this.#last
      .then(() => this.#choose(...asked))
      .catch(error => {
        throw translateError(error)
      })
    this.#last = choice.catch(() => {})
    return choice
  }

  async #choose(...[addon, plan, options, maxBatch, planCache, signal]: Asked): Promise<string[]> {
    const { algorithms, isa } = describe(addon, plan, options)
    const { names, candidates } = toChoose(plan, algorithms)
    if (candidates.size === 0) return names

    const batch = Math.min(maxBatch, mostImages)
    const machine =
      `${cpus()[0]?.model}, ${isa}, ${options.threads} threads, batch ${batch}, ` +
      `networks of ${Math.ceil(planCost(plan).weightBytes / 2 ** 20)} MiB, kernels ${kernelsVersion}, ${addon.info.compiler}`
    const chosen = this.#chosen.get(machine) ?? new Map<string, string>()
    this.#chosen.set(machine, chosen)

    const written: Choices = planCache === '' ? new Map() : await readChoices(planCache, machine)
    const unwritten: string[] = []
    for (const [name, { algorithms }] of candidates) {
      const choice = written.get(name)
      if (choice === undefined || !algorithms.includes(choice)) unwritten.push(name)
      else if (!chosen.has(name)) chosen.set(name, choice)
    }
    const open = [...candidates].filter(([name]) => !chosen.has(name))
    if (open.length > 0) {
      if (planCache !== '') await checkKept(planCache)
      const all = open.map(([, convolution]) => convolution)
      const times = await timeAlgorithms(all, plan, batch, addon, options, signal)
      for (const [i, [name, { algorithms }]] of open.entries())
        chosen.set(name, fastest(algorithms, times[i]!))
    }
    if (planCache !== '' && unwritten.length > 0) {
      const added = unwritten.map(name => [name, chosen.get(name)!] as const)
      const others = await readChoices(planCache, machine) // another process may have added timings meanwhile
      await writeChoices(planCache, machine, new Map([...others, ...added]))
    }
    return names.map(name => chosen.get(name) ?? '')
  }
}

/** The one of this process. */
export const cpuAutotune = new CpuAutotune()

function describe(addon: NativeAddon, plan: Plan, options: NativeOptions) {
  const session = new addon.NativeSession(plan, options)
  try {
    return { algorithms: session.algorithms(), isa: session.description() }
  } finally {
    session.dispose()
  }
}

interface ToChoose {
  /** By operation: equal for convolutions that take equally long, '' if there is no choice. */
  readonly names: string[]
  readonly candidates: ReadonlyMap<string, Candidates>
}

/** `algorithms`: by operation, all possible ones. */
function toChoose(plan: Plan, algorithms: readonly (readonly string[])[]): ToChoose {
  const candidates = new Map<string, Candidates>()
  const names = plan.ops.map((op, i) => {
    if (op.kind !== 'conv' || algorithms[i]!.length < 2) return ''
    const [src, dst] = [unscaled(plan.values[op.src]!), unscaled(plan.values[op.dst]!)]
    const { kernel, stride, padding, groups, relu } = op
    const name = choiceKey({
      src,
      dst,
      kernel,
      stride,
      padding,
      groups,
      residual: op.residual !== null,
      relu,
    })
    candidates.set(name, { src, dst, op, algorithms: algorithms[i]! })
    return name
  })
  return { names, candidates }
}

/** The first, which is the fixed table's, unless another is faster by more than noise. */
function fastest(algorithms: readonly string[], times: readonly number[]): string {
  const least = Math.min(...times)
  return algorithms[least < worthwhile * times[0]! ? times.indexOf(least) : 0]!
}
