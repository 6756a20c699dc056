// `residual export`: write a model in the format of another framework.
import { networkToOnnx, planToOnnx } from '../export/onnx.ts'
import { writeAtomically } from '../files/atomic-file.ts'
import { activationOf } from '../model/plan.ts'
import { type NetworkArguments, networkOptionsOf } from './options/model-options.ts'
import { openNamedModel } from './options/named-model.ts'
import { say } from './terminal/print.ts'

export interface ExportArguments extends NetworkArguments {
  readonly model: string
  readonly to: 'onnx'
  readonly folded?: boolean
  readonly precision?: 'fp32' | 'int8'
  readonly size: number
}

export async function exportModel(out: string, options: ExportArguments): Promise<number> {
  const { model, folded = false, size } = options
  const { network, plan, weights, close } = await openNamedModel(model, size, networkOptionsOf(options))
  try {
    const { height, width } = plan.values[plan.ops[0]!.dst]!
    const { precision = weights.quantization ? 'int8' : 'fp32' } = options
    const isPlan = folded || precision === 'int8'
    const bytes = isPlan
      ? await planToOnnx(plan, weights, { precision })
      : await networkToOnnx(network, weights, { height, width, activation: activationOf(plan) })
    await writeAtomically(out, handle => handle.writeFile(bytes))
    const kind = precision === 'int8' ? 'quantized (QDQ)' : isPlan ? 'batch norms folded' : 'layer by layer'
    say(`${out}: ${model} as ONNX, ${kind}, ${(bytes.length / 2 ** 20).toFixed(1)} MiB`)
    say(`Its input x is [N,3,${height},${width}] float32, normalised.`)
    return 0
  } finally {
    await close()
  }
}
