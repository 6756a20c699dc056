// Tensors of a file that are not part of the chosen network.
import { ResidualError } from '../../errors.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { excerpt } from './name-list.ts'

/** Name segments of training state, which does not affect results. */
const ofTraining =
  /(^|[._/])(optim|optimi[sz]ers?|optimi[sz]er_states?|opt|(lr_)?sched(ulers?)?|lr_schedulers?|(grad_)?scaler|amp|rng(_states?)?|random_states?|criterion|loss(es|_fn)?|n_averaged|num_batches_tracked|callbacks|loops|metrics?|seed_generator\w*)([._/\d]|$)/i

/** Averaged copies of the weights that training keeps. */
const averages = /(^|[._/])(\w+_)?ema([._/]|$)|(^|[._/])ema_/

/** Whether a tensor is only needed to resume training. */
export function isOfTraining(name: string): boolean {
  return ofTraining.test(name)
}

/**
 * Checks that the file has nothing except tensors with one of `prefixes`, the first being the network's, and training state.
 *
 * @throws ResidualError CHECKPOINT_MISMATCH naming the rest, whose effect on the result would be missing
 */
export function checkNothingElse(
  { tensors, path }: Checkpoint,
  prefixes: readonly [string, ...string[]],
): void {
  const [prefix] = prefixes
  const others = [...tensors]
    .filter(([name]) => !prefixes.some(each => name.startsWith(each)))
    .filter(([name]) => !isOfTraining(name) && !averages.test(name))
    // A step or an epoch.
    .filter(([, { dtype, length }]) => !(length <= 1 && /^[IU]\d/.test(dtype)))
    .map(([name]) => name)
  if (others.length === 0) return
  const normalises = others.some(name => /(^|[._])(mean|std)$/.test(name))
  throw new ResidualError(
    'CHECKPOINT_MISMATCH',
    `${path} holds more than the network behind '${prefix}': ${excerpt(others)}. ` +
      `--prefix ${prefix.replace(/[./]$/, '')} (or 'prefix') takes the network without ` +
      `${others.length === 1 ? 'it' : 'them'}` +
      `${normalises ? '; --mean and --std say what is to be done to images' : ''}.`,
  )
}
