// How much faster the CPU's kernels for fewer bits are, for those who could use them.
import type { ReducedKernels } from './native.ts'
import type { SessionDevice } from './session.ts'
import { type CpuPrecision, cpuPrecisions } from './session-options.ts'

/**
 * How many times as fast as in fp32 ResNet-50 is, by precision and the instruction set of its kernels: measured with two threads
 * and batches of 8, see docs/benchmark.md.
 */
const speedups: { readonly [precision in 'bf16' | 'int8']: { readonly [isa: string]: number } } = {
  bf16: { amx: 3 },
  int8: { amx: 7, avx512vnni: 3, avxvnni: 2.9, avx2: 1.5 },
}

/** As their makers call them. */
const isaNames: { readonly [isa: string]: string } = {
  amx: 'AMX',
  avx512vnni: 'AVX-512 VNNI',
  avxvnni: 'AVX-VNNI',
  avx2: 'AVX2',
  i8mm: 'I8MM',
  sdot: 'SDOT',
  bf16: 'BF16',
}

/** The name of an instruction set, for people. */
export const isaName = (isa: string) => isaNames[isa] ?? isa

/** A precision that this CPU has kernels of its own for. */
export interface FasterPrecision {
  readonly precision: Exclude<CpuPrecision, 'fp32'>
  /** The instruction set of the kernels. */
  readonly isa: string
  /** About how many times as fast as in fp32 ResNet-50 is; null if that is not known. */
  readonly speedup: number | null
}

/** Instruction sets without products of bytes: int8 takes a quarter of the memory there, but no less time. */
const slowInt8: readonly string[] = ['baseline']

/** The precisions that are faster than fp32 with some kernels. */
export function fasterPrecisions(kernels: ReducedKernels): FasterPrecision[] {
  return (['bf16', 'int8'] as const).flatMap(precision => {
    const isa = kernels[precision]
    if (isa === null || (precision === 'int8' && slowInt8.includes(isa))) return []
    return [{ precision, isa, speedup: speedups[precision][isa] ?? null }]
  })
}

/** How models on `devices` could be faster on this CPU: a sentence for each precision of fewer bits than one of them has. */
export function speedHints(
  kernels: ReducedKernels,
  devices: readonly (SessionDevice | undefined)[],
): string[] {
  const used = devices.flatMap(device =>
    device?.kind === 'cpu' ? [cpuPrecisions.indexOf(device.precision)] : [],
  )
  return fasterPrecisions(kernels).flatMap(({ precision, isa, speedup }) => {
    if (!used.some(index => index < cpuPrecisions.indexOf(precision))) return []
    const how = precision === 'bf16' ? '--precision bf16' : 'int8, for models of `residual quantize`,'
    const gain = speedup === null ? 'is faster than fp32' : `runs about ${speedup} times as fast as fp32`
    return [`This CPU has ${isaName(isa)}: ${how} ${gain}.`]
  })
}
