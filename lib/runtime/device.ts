// Devices: which are available, and why others are not.
import { outOfRange, ResidualError } from '../errors.ts'
import { runtimeLibraries } from './cuda/libraries.ts'
import { loadCuda, loadNative, type NativeAddon, translated } from './native.ts'

export type DeviceChoice = 'auto' | 'cpu' | 'cuda'
const choices: readonly DeviceChoice[] = ['auto', 'cpu', 'cuda']

export interface BackendReport {
  readonly name: 'cpu' | 'cuda'
  readonly available: boolean
  /** What it can use (instruction sets, best first; GPUs by index), or why it is unavailable. */
  readonly details: string
}

/** Every backend, with what it offers or lacks on this machine. Never throws. */
export function findBackends(): BackendReport[] {
  const report = (name: 'cpu' | 'cuda', open: () => NativeAddon): BackendReport => {
    try {
      return { name, available: true, details: open().capabilities().join(', ') }
    } catch (error) {
      return { name, available: false, details: (error as Error).message }
    }
  }
  return [report('cpu', loadNative), report('cuda', openCuda)]
}

export interface ResolvedDevice {
  readonly backend: 'cpu' | 'cuda'
  readonly addon: NativeAddon
  /** Why `auto` did not choose a GPU. */
  readonly reason?: string
}

/**
 * Resolves `choice` to a device: `auto` chooses a GPU if a usable one exists.
 *
 * @throws RangeError for a choice that does not exist, ResidualError BACKEND_UNAVAILABLE, ADDON_NOT_BUILT
 */
export function resolveDevice(choice: DeviceChoice): ResolvedDevice {
  if (!choices.includes(choice)) throw outOfRange(`one of ${choices.join(', ')}`, 'device', choice)
  if (choice === 'cpu') return { backend: 'cpu', addon: loadNative() }
  try {
    return { backend: 'cuda', addon: openCuda() }
  } catch (error) {
    if (!(error instanceof ResidualError)) throw error
    if (choice === 'auto') return { backend: 'cpu', addon: loadNative(), reason: error.message }
    throw new ResidualError(error.code, `The device 'cuda' is unavailable. ${error.message}`, {
      cause: error,
    })
  }
}

let cuda: NativeAddon | ResidualError | undefined // the outcome of opening it, which does not change while the process lives

function openCuda(): NativeAddon {
  if (cuda === undefined) {
    try {
      const addon = loadCuda()
      translated(() => addon.openLibraries(runtimeLibraries()))
      if (translated(() => addon.capabilities()).length === 0)
        throw new ResidualError(
          'BACKEND_UNAVAILABLE',
          'The NVIDIA driver shows no GPU. `nvidia-smi -L` lists them; CUDA_VISIBLE_DEVICES may hide some.',
        )
      cuda = addon
    } catch (error) {
      if (!(error instanceof ResidualError)) throw error
      cuda = error
    }
  }
  if (cuda instanceof ResidualError) throw cuda
  return cuda
}
