// onnxruntime-node as an engine of the benchmark. It is not a dependency: install it next to residual to compare with it.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { type Engine, type Images, timed } from './engine.ts'
import { toNchw } from './nchw.ts'
import { nodeStart } from './start.ts'

/** The part of the module `onnxruntime-node` that is used. */
export interface OnnxRuntime {
  readonly InferenceSession: {
    create(
      model: string | Uint8Array,
      options: {
        readonly intraOpNumThreads: number
        readonly logSeverityLevel: 3
        readonly enableProfiling?: boolean
        readonly profileFilePrefix?: string
      },
    ): Promise<OnnxSession>
  }
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => OnnxTensor
  readonly env: { readonly versions: { readonly node?: string } }
}

interface OnnxTensor {
  readonly data: unknown
}

export interface OnnxSession {
  run(
    feeds: { readonly x: OnnxTensor },
    outputs: readonly string[],
  ): Promise<{ readonly [name: string]: OnnxTensor }>
  endProfiling(): void
  release(): Promise<void>
}

/** Where the module was found, or why it cannot be used. */
export type FoundOnnxRuntime =
  | { readonly module: OnnxRuntime; readonly path: string }
  | { readonly missing: string }

/** The `onnxruntime-node` that a file in `folder` would import. */
export function findOnnxRuntime(folder: string): FoundOnnxRuntime {
  const require = createRequire(join(folder, 'any.js'))
  try {
    const path = require.resolve('onnxruntime-node')
    return { module: require(path), path }
  } catch (error) {
    return { missing: (error as Error).message.split('\n')[0]! }
  }
}

/** Images as exported networks take them: channels first. */
export function onnxTensor({ Tensor }: OnnxRuntime, { data, dims }: Images): OnnxTensor {
  const [n, h, w, c] = dims
  return new Tensor('float32', toNchw(data, dims), [n, c, h, w])
}

export function onnxRuntimeEngine({
  module,
  path,
}: {
  readonly module: OnnxRuntime
  readonly path: string
}): Engine {
  return {
    name: 'onnxruntime',
    version: module.env.versions.node ?? 'unknown',
    precisions: ['fp32', 'int8'],
    async open(subject, { threads, precision }) {
      const model = await subject.in(precision)
      const session = await module.InferenceSession.create(await model.onnx(), {
        intraOpNumThreads: threads,
        logSeverityLevel: 3, // errors only
      })
      let feeds: { x: OnnxTensor }
      const outputs = ['logits']
      const logitsOf = async (feeds: { x: OnnxTensor }) =>
        (await session.run(feeds, outputs)).logits!.data as Float32Array
      return {
        prepare: images => {
          feeds = { x: onnxTensor(module, images) }
          return logitsOf(feeds)
        },
        logits: images => logitsOf({ x: onnxTensor(module, images) }),
        run: () => timed(() => session.run(feeds, outputs)),
        close: () => session.release(),
      }
    },
    startCommand: async (subject, dims, settings) =>
      nodeStart(path, await (await subject.in(settings.precision)).onnx(), dims, settings),
  }
}
