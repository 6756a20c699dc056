// Devices: which are available, and why others are not.
import { outOfRange, ResidualError } from '../errors.ts'
import { runtimeLibraries } from './cuda/libraries.ts'
import { loadCuda, loadNative, type NativeAddon, translatedLater } from './native.ts'

export type DeviceChoice = 'auto' | 'cpu' | 'cuda'
const choices: readonly DeviceChoice[] = ['auto', 'cpu', 'cuda']

export interface BackendReport {
  readonly name: 'cpu' | 'cuda'
  readonly available: boolean
  /** What it can use (instruction sets, best first; GPUs by index), or why it is unavailable. */
  readonly details: string
}

/** Every backend, with what it offers or lacks on this machine. Never rejects. */
export async function findBackends(): Promise<BackendReport[]> {
  const report = async (name: 'cpu' | 'cuda', find: () => Promise<string[]>): Promise<BackendReport> => {
    try {
      return { name, available: true, details: (await find()).join(', ') }
    } catch (error) {
      return { name, available: false, details: (error as Error).message }
    }
  }
  return [
    await report('cpu', async () => loadNative().capabilities()),
    await report('cuda', async () => (await openCuda()).gpus),
  ]
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
export async function resolveDevice(choice: DeviceChoice): Promise<ResolvedDevice> {
  if (!choices.includes(choice)) throw outOfRange(`one of ${choices.join(', ')}`, 'device', choice)
  if (choice === 'cpu') return { backend: 'cpu', addon: loadNative() }
  try {
    return { backend: 'cuda', addon: (await openCuda()).addon }
  } catch (error) {
    if (!(error instanceof ResidualError)) throw error
    if (choice === 'auto') return { backend: 'cpu', addon: loadNative(), reason: error.message }
    throw new ResidualError(error.code, `The device 'cuda' is unavailable. ${error.message}`, {
      cause: error,
    })
  }
}

interface Cuda {
  readonly addon: NativeAddon
  /** The GPUs of this machine, at least one. */
  readonly gpus: string[]
}

let cuda: Promise<Cuda> | undefined // the outcome of opening it, which does not change while the process lives

function openCuda(): Promise<Cuda> {
  cuda ??= translatedLater(async () => {
    const addon = loadCuda()
    const gpus = await addon.openDevices(runtimeLibraries())
    if (gpus.length === 0)
      throw new ResidualError(
        'BACKEND_UNAVAILABLE',
        'The NVIDIA driver shows no GPU. `nvidia-smi -L` lists them; CUDA_VISIBLE_DEVICES may hide some.',
      )
    return { addon, gpus }
  })
  return cuda
}
