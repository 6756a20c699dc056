// Drives the twin's device directly, and cuDNN with graphs of the test's own, by steps for native/twin/probe.
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { packageRoot } from '../../lib/base/package-root.ts'
import type { CudnnTensor } from '../../lib/runtime/cuda/cudnn-plan.ts'
import { compileLibraries, type LibraryCandidates } from '../../lib/runtime/cuda/libraries.ts'
import { twin, twinGpu } from './twin.ts'

type Pair = readonly [number, number]

/** Tensors by their uids; `dim` and `stride` are of N, C, H, W. */
export interface GraphTensor {
  readonly uid: number
  /** cuDNN's name: `CUDNN_DATA_HALF`. */
  readonly type: string
  readonly dim: CudnnTensor['dim']
  readonly stride: CudnnTensor['stride']
  readonly isVirtual: boolean
}

/** `pre` and `post`: padding before and after, of rows and of columns. */
export type GraphNode = { readonly x: number; readonly y: number } & (
  | {
      readonly operation: 'conv'
      readonly w: number
      readonly math: string
      readonly pre: Pair
      readonly post: Pair
      readonly stride: Pair
      readonly dilation: Pair
    }
  | { readonly operation: 'pointwise'; readonly mode: string; readonly b?: number }
  | {
      readonly operation: 'resample'
      readonly mode: string
      readonly padding: string
      readonly window: Pair
      readonly pre: Pair
      readonly post: Pair
      readonly stride: Pair
    }
)

export interface Graph {
  readonly tensors: readonly GraphTensor[]
  readonly nodes: readonly GraphNode[]
}

/** What native/twin/probe/main.cc says of them. */
export type Step = (
  | { readonly do: 'device' | 'pinned'; readonly name: string; readonly bytes: number }
  | { readonly do: 'free' | 'lose' | 'show'; readonly name: string }
  | { readonly do: 'fill'; readonly name: string; readonly data: string }
  | { readonly do: 'poke'; readonly name: string; readonly at: number }
  | {
      readonly do: 'upload' | 'download'
      readonly to: string
      readonly from: string
      readonly bytes: number
    }
  | {
      readonly do: 'compile'
      readonly graph: Graph
      readonly precision: string
      readonly libraries: LibraryCandidates
    }
  | {
      readonly do: 'execute'
      readonly op: string
      readonly plan: string
      readonly precision: string
      readonly bind: readonly { readonly uid: number; readonly name: string }[]
    }
  | {
      readonly do: 'launch'
      readonly op: string
      readonly to: string
      readonly from: string
      readonly pixels: number
    }
  | { readonly do: 'record' | 'wait-for'; readonly event: string }
  | { readonly do: 'end-capture' | 'replay'; readonly graph: string }
  | { readonly do: 'begin-capture' | 'wait' | 'in-use' }
) & { readonly stream?: string }

/** Does `steps` on a device of their own, on one stream unless they name others; what each answers that has an answer. Throws what the twin throws. */
export function probe(steps: readonly Step[], { gpu = twinGpu, seed = 1 } = {}): unknown[] {
  const program = join(dirname(twin), 'residual-twin-probe')
  const { status, stdout, stderr, error } = spawnSync(program, {
    input: JSON.stringify({ steps: steps.map(step => ({ stream: 'the stream', ...step })) }),
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    env: {
      ...process.env,
      RESIDUAL_TWIN_GPU: join(packageRoot, 'gpus', `${gpu}.json`),
      RESIDUAL_TWIN_SEED: String(seed),
    },
  })
  if (status !== 0) throw new Error(`${program} ended with ${status}: ${stderr}`, { cause: error })
  const answer = JSON.parse(stdout)
  if (answer.message === undefined) return answer.results
  throw Object.assign(new Error(answer.message), { code: answer.code, step: steps[answer.step] })
}

/** The plan that cuDNN makes of `graph`, as it reports it. */
export function compiled(graph: Graph, precision = 'fp16', gpu = twinGpu): CudnnReport {
  const { nvrtc, cudnn } = compileLibraries(dirname(twin))
  const libraries = { nvrtc: nvrtc!, cudnn: cudnn! }
  const [plan] = probe([{ do: 'compile', graph, precision, libraries }], { gpu })
  return plan as CudnnReport
}

/** Only as far as tests change it. */
export interface CudnnReport {
  readonly operationGraph: { readonly tensors: readonly object[]; readonly nodes: readonly object[] }
}

/** The digits in which numbers travel. */
export const toHex = (numbers: ArrayBufferView): string =>
  Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength).toString('hex')

/** The bytes behind such digits. */
export const fromHex = (digits: unknown): ArrayBuffer =>
  Uint8Array.from(Buffer.from(String(digits), 'hex')).buffer
