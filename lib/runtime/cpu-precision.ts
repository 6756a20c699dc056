// What a session on the CPU computes in, and the plan it runs for that.
import { ResidualError } from '../errors.ts'
import type { Plan } from '../model/plan.ts'
import { type Reduction, reducedPlan } from '../model/reduce.ts'
import type { WeightSource } from '../weights/source.ts'
import type { ReducedKernels } from './native.ts'
import { type CpuPrecision, cpuPrecisions, type Precision } from './session-options.ts'

export interface CpuChoice {
  /** The plan to run. */
  readonly plan: Plan
  readonly precision: CpuPrecision
  /** Why it is not the precision that was asked for. */
  readonly precisionReason?: string
}

/**
 * The plan that a session runs, from one in float32 or one whose values say how they are kept: that is run as it is.
 *
 * @param asked the precision; int8 for quantized weights unless given, else fp32
 * @param isAuto whether the CPU stands in for a GPU: what only GPUs compute in then becomes fp32
 * @throws ResidualError PRECISION_UNSUPPORTED for int8 without a quantization, precisions of GPUs, and any that contradicts the
 *   plan; CHECKPOINT_MISMATCH for a quantization of another network
 */
export function chooseForCpu(
  plan: Plan,
  { quantization, description }: WeightSource,
  asked: Precision | undefined,
  isAuto: boolean,
  kernels: ReducedKernels,
): CpuChoice {
  const own = precisionOf(plan)
  if (own !== 'fp32') {
    if (asked === undefined || asked === own) return { plan, precision: own }
    throw unsupported(`The plan keeps its values in ${own} already: leave out the precision ${asked}`)
  }
  const precision = asked ?? (quantization ? 'int8' : 'fp32')
  switch (precision) {
    case 'fp32':
      return { plan, precision }
    case 'bf16':
      if (kernels.bf16 === null) return { plan, precision: 'fp32', precisionReason: withoutBf16 }
      return reduced({ precision })
    case 'int8':
      if (quantization) return reduced({ precision, quantization, bf16: kernels.bf16 !== null })
      throw unsupported(
        `int8 takes a quantized model, and ${description} is not one. Make one with \`residual quantize\``,
      )
    default: {
      const reason = `${precision} is for GPUs; on the CPU there are ${cpuPrecisions.join(', ')}`
      if (isAuto) return { plan, precision: 'fp32', precisionReason: `${reason}.` }
      throw unsupported(reason)
    }
  }

  function reduced(reduction: Reduction): CpuChoice {
    try {
      return { plan: reducedPlan(plan, reduction), precision: reduction.precision }
    } catch (cause) {
      if (!(cause instanceof ResidualError)) throw cause
      throw new ResidualError(cause.code, `${description}: ${cause.message}`, { cause })
    }
  }
}

const withoutBf16 =
  'In bf16 nothing is faster than in fp32 with the instructions of this CPU: that takes AMX, or on AArch64 BF16.'

const unsupported = (problem: string) => new ResidualError('PRECISION_UNSUPPORTED', `${problem}.`)

/** What a plan computes in: the fewest bits of any value. */
function precisionOf({ values }: Plan): CpuPrecision {
  const all = new Set(values.map(({ precision = 'fp32' }) => precision))
  if (all.has('int8') || all.has('uint8')) return 'int8'
  return all.has('bf16') ? 'bf16' : 'fp32'
}
