// Output activations: what turns logits into probabilities.
import { outOfRange } from '../errors.ts'

export const activations = ['softmax', 'sigmoid', 'none'] as const

/**
 * `softmax`: an image shows one of the classes. `sigmoid`: each class is there or not, whatever the others are. `none`: the logits
 * are the result, as in a regression.
 */
export type Activation = (typeof activations)[number]

/** What is taken where nobody says: one logit is a yes or a no, of which softmax would always make 1. */
export function usualActivation(classes: number): Activation {
  return classes === 1 ? 'sigmoid' : 'softmax'
}

export function isActivation(value: unknown): value is Activation {
  return activations.includes(value as Activation)
}

/** @throws RangeError where there is no such activation */
export function checkActivation(value: unknown): Activation {
  if (isActivation(value)) return value
  throw outOfRange(`one of ${activations.join(', ')}`, 'activation', value)
}
