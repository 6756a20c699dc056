// `residual info`: what this installation and this machine offer.
import { availableParallelism } from 'node:os'
import { packageVersion } from '../base/package-version.ts'
import { jsonText } from '../base/text.ts'
import { alignColumns, formatPlan } from '../model/format-plan.ts'
import { bundledModels, type ModelFile } from '../model-record.ts'
import { type CpuChoice, chooseForCpu } from '../runtime/cpu-precision.ts'
import { type BackendReport, findBackends } from '../runtime/device.ts'
import { cpuInstructionSet, loadNative, type ReducedKernels, reducedKernels } from '../runtime/native.ts'
import { fasterPrecisions, isaName } from '../runtime/reduced-speed.ts'
import { type CpuPrecision, cpuPrecisions } from '../runtime/session-options.ts'
import { openNamedModel } from './options/named-model.ts'
import { sayAll, sayJson, warn, write } from './terminal/print.ts'

export interface InfoArguments {
  readonly plan?: string
  readonly precision?: CpuPrecision
  readonly size: number
  readonly json?: boolean
}

interface PrecisionFacts {
  readonly precision: CpuPrecision
  /** The instruction set of its kernels; null if they are those of fp32, because no others are faster. */
  readonly isa: string | null
  /** About how many times as fast as in fp32 ResNet-50 is; null if that is not known. */
  readonly speedup: number | null
}

interface Facts {
  readonly residual: string
  readonly node: string
  readonly platform: string
  /** Null if the addon cannot be loaded. */
  readonly compiler: string | null
  readonly threads: number
  readonly isa: string | null
  /** Of the CPU: what it can compute in, how fast. */
  readonly precisions: readonly PrecisionFacts[]
  readonly backends: readonly BackendReport[]
  readonly models: readonly ModelFile[]
}

export async function info({ plan: model, precision, size, json }: InfoArguments): Promise<number> {
  if (model !== undefined) {
    const { plan, precisionReason } = await planIn(model, size, precision)
    if (precisionReason !== undefined) warn(`residual: ${precisionReason}`)
    json ? write(`${jsonText(plan)}\n`) : sayAll(formatPlan(plan))
    return 0
  }
  const backends = await findBackends()
  const [cpu] = backends
  const facts: Facts = {
    residual: packageVersion(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    compiler: cpu?.available ? loadNative().info.compiler : null,
    threads: availableParallelism(),
    isa: cpu?.available ? cpuInstructionSet() : null,
    precisions: cpu?.available ? precisionFacts(reducedKernels()) : [],
    backends,
    models: bundledModels(),
  }
  json ? sayJson(facts) : sayAll(factsText(facts))
  return cpu?.available ? 0 : 1
}

/** The plan of a model in float32, or as the CPU runs it in a precision. */
async function planIn(
  model: string,
  size: number,
  precision: CpuPrecision | undefined,
): Promise<Pick<CpuChoice, 'plan' | 'precisionReason'>> {
  const { plan, weights, close } = await openNamedModel(model, size)
  await close() // the quantization has been read
  if (precision === undefined) return { plan }
  return chooseForCpu(plan, weights, precision, /*isAuto=*/ false, reducedKernels())
}

function factsText(facts: Facts): string {
  const lines = [
    ['residual', facts.residual],
    ['node', `${facts.node} on ${facts.platform}`],
    ['addon', facts.compiler === null ? 'not built' : `compiled by ${facts.compiler}`],
    ['threads', String(facts.threads)],
    ['instruction set', facts.isa ?? 'none'],
    ...facts.precisions.map(facts => [`precision ${facts.precision}`, precisionText(facts)]),
    ...facts.backends.map(({ name, available, details }) => [
      `backend ${name}`,
      `${available ? 'available' : 'not available'}: ${details}`,
    ]),
    ...facts.models.map(({ name, path }) => [`model ${name}`, path]),
  ]
  return alignColumns(lines).join('\n')
}

function precisionFacts(kernels: ReducedKernels): PrecisionFacts[] {
  const faster = fasterPrecisions(kernels)
  return cpuPrecisions.map(precision => {
    if (precision === 'fp32') return { precision, isa: cpuInstructionSet(), speedup: 1 }
    const { isa, speedup } = faster.find(each => each.precision === precision) ?? {
      isa: kernels[precision],
      speedup: null,
    }
    return { precision, isa, speedup }
  })
}

function precisionText({ precision, isa, speedup }: PrecisionFacts): string {
  if (precision === 'fp32') return 'the default'
  if (isa === null) return precision === 'bf16' ? 'computed in fp32, which is as fast here' : 'not available'
  const gain = speedup === null ? '' : `, about ${speedup} times as fast as fp32`
  return `${isaName(isa)}${gain}${precision === 'int8' ? ', for models of `residual quantize`' : ''}`
}
