// Which devices can compute here, and why not the others?
import { outOfRange, ResidualError } from '../errors.ts'
import { loadNative } from './native.ts'

export type DeviceChoice = 'auto' | 'cpu' | 'cuda'
const choices: readonly DeviceChoice[] = ['auto', 'cpu', 'cuda']

export interface BackendReport {
  readonly name: 'cpu' | 'cuda'
  readonly available: boolean
  /** What it can use (instruction sets, best first), or why it cannot be had. */
  readonly details: string
}

const cudaReason = 'this version has no CUDA backend yet; use the CPU'

/** Every backend there is, with what it offers or lacks on this machine. Throws nothing. */
export function findBackends(): BackendReport[] {
  const cuda: BackendReport = { name: 'cuda', available: false, details: cudaReason }
  try {
    const { capabilities } = loadNative().info
    return [{ name: 'cpu', available: true, details: capabilities.join(', ') }, cuda]
  } catch (error) {
    return [{ name: 'cpu', available: false, details: (error as Error).message }, cuda]
  }
}

/**
 * The device that `choice` comes to: `auto` takes the best there is.
 *
 * @throws RangeError for a choice that does not exist, ResidualError BACKEND_UNAVAILABLE for one that cannot be had
 */
export function resolveDevice(choice: DeviceChoice): 'cpu' {
  if (!choices.includes(choice)) throw outOfRange(`one of ${choices.join(', ')}`, 'device', choice)
  if (choice === 'cuda') {
    throw new ResidualError(
      'BACKEND_UNAVAILABLE',
      `The device 'cuda' cannot be had: ${cudaReason} (device: 'cpu' or 'auto').`,
    )
  }
  return 'cpu'
}
