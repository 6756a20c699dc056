// residual as an engine of the benchmark.
import type { SessionOptions } from '../runtime/session-options.ts'
import { benchPrecisions, type Engine, type Images, openSession, timed } from './engine.ts'
import { nodeStart } from './start.ts'

/** `options` apply to its sessions, but not to cold starts in their own processes. */
export function residualEngine(version: string, options: SessionOptions = {}): Engine {
  return {
    name: 'residual',
    version: options.autotune ? `${version} with autotune` : version,
    precisions: benchPrecisions,
    async open(subject, settings) {
      const session = await openSession(subject, settings, options)
      const outputs = ['logits'] as const
      // In int8 it computes with the bytes themselves.
      const inputOf = ({ bytes, data }: Images) => (settings.precision === 'int8' ? bytes : data)
      const logits = async (images: Images) => (await session.run(inputOf(images), { outputs })).logits
      const { device } = session
      const note = device.kind === 'cpu' ? device.precisionReason : undefined
      let input: Images
      return {
        prepare: images => {
          input = images
          return logits(images)
        },
        logits,
        run: () => timed(() => session.run(inputOf(input), { outputs })),
        close: () => session.dispose(),
        ...(note !== undefined && { note }),
      }
    },
    startCommand: async (subject, dims, settings) =>
      nodeStart('residual', (await subject.in(settings.precision)).checkpoint, dims, settings),
  }
}

/** residual in fp32, beside itself in another precision: what is gained and lost. */
export function fp32Reference(residual: Engine): Engine {
  const inFp32 = <T extends object>(settings: T) => ({ ...settings, precision: 'fp32' as const })
  return {
    ...residual,
    name: `${residual.name} fp32`,
    precisions: ['fp32'],
    open: (subject, settings) => residual.open(subject, inFp32(settings)),
    startCommand: (subject, dims, settings) => residual.startCommand(subject, dims, inFp32(settings)),
  }
}
