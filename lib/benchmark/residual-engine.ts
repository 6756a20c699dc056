// residual as an engine of the benchmark.
import type { SessionOptions } from '../runtime/session-options.ts'
import { type Engine, openSession, timed } from './engine.ts'
import { nodeStart } from './start.ts'

/** `options` apply to its sessions, but not to cold starts in their own processes. */
export function residualEngine(version: string, options: SessionOptions = {}): Engine {
  return {
    name: 'residual',
    version: options.autotune ? `${version} with autotune` : version,
    async open(subject, threads) {
      const session = await openSession(subject, { ...options, threads })
      const outputs = ['logits'] as const
      let images: Float32Array
      return {
        prepare: async ({ data }) => {
          images = data
          return (await session.run(images, { outputs })).logits
        },
        run: () => timed(() => session.run(images, { outputs })),
        close: () => session.dispose(),
      }
    },
    startCommand: async ({ checkpoint }, dims, threads) => nodeStart('residual', checkpoint, dims, threads),
  }
}
