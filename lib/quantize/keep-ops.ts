// Mixed precision: which operations to keep out of int8, those that hurt most first, until enough images get the same class.
import { opCost, type Plan } from '../model/plan.ts'
import { takesWeights } from '../weights/op-weights.ts'

/** The share of the arithmetic that may be kept for being worth it: more would cost what int8 is for. */
const mostCost = 0.1

/** An operation that is kept in bf16. */
export interface KeptOp {
  readonly name: string
  /** Its share of the network's operations. */
  readonly cost: number
  /** The share of the error of close images' logits that goes if it alone is kept. */
  readonly saves: number
}

/** Runs the network with operations kept, by their names. */
export interface KeptTrials {
  /** The error of the logits of images that calibrated it. */
  readonly error: (kept: readonly string[]) => Promise<number>
  /** The share of the other images that keep their class. */
  readonly agreement: (kept: readonly string[]) => Promise<number>
}

/** What to keep, and the agreement with it. */
export interface KeptChoice {
  readonly kept: readonly KeptOp[]
  readonly agreement: number
}

export interface KeepOptions {
  /** The least agreement. */
  readonly agreement: number
  /** Keep only what saves this many times its share of what it costs, until nothing does; null: until the agreement is reached. */
  readonly worth: number | null
}

/**
 * Finds the fewest operations to keep. Each is tried alone; they are then kept in the order of what they save, or, where only
 * what is worth it is kept, of what they save for what they cost.
 */
export async function chooseKept(
  plan: Plan,
  { agreement: least, worth }: KeepOptions,
  { error, agreement }: KeptTrials,
  onTrial: (done: number, total: number) => void,
): Promise<KeptChoice> {
  const none: KeptChoice = { kept: [], agreement: await agreement([]) }
  if (none.agreement >= least) return none
  const ops = plan.ops.filter(takesWeights)
  const flops = ops.map(op => opCost(plan, op).flops)
  const total = flops.reduce((a, b) => a + b, 0)
  const before = await error([])
  const tried: KeptOp[] = []
  for (const [i, { name }] of ops.entries()) {
    tried.push({ name, cost: flops[i]! / total, saves: 1 - (await error([name])) / before })
    onTrial(i + 1, ops.length)
  }
  const order = worth === null ? tried.toSorted((a, b) => b.saves - a.saves) : worthwhile(tried, worth)
  return fewest(order, none, least, agreement)
}

/** The operations that save `worth` times what they cost, those that save most for it first, up to a tenth of all costs. */
function worthwhile(tried: readonly KeptOp[], worth: number): KeptOp[] {
  const ops = tried
    .filter(({ saves, cost }) => saves > 0 && saves >= worth * cost)
    .toSorted((a, b) => b.saves / b.cost - a.saves / a.cost)
  let total = 0
  return ops.filter(({ cost }) => {
    const fits = total + cost <= mostCost
    if (fits) total += cost
    return fits
  })
}

/** The shortest beginning of `order` that agrees enough, found by doubling and halving; all of it if none does. */
async function fewest(
  order: readonly KeptOp[],
  none: KeptChoice,
  least: number,
  agreement: KeptTrials['agreement'],
): Promise<KeptChoice> {
  const choice = async (count: number): Promise<KeptChoice> => {
    const kept = order.slice(0, count)
    return { kept, agreement: await agreement(kept.map(({ name }) => name)) }
  }
  let [tooFew, found] = [0, none]
  for (let count = 1; found.agreement < least; count *= 2) {
    if (tooFew === order.length) return found
    tooFew = found.kept.length
    found = await choice(Math.min(count, order.length))
    if (found.kept.length === order.length && found.agreement < least) return found
  }
  while (found.kept.length - tooFew > 1) {
    const middle = await choice(Math.floor((tooFew + found.kept.length) / 2))
    if (middle.agreement >= least) found = middle
    else tooFew = middle.kept.length
  }
  return found
}
