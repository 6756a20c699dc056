// `residual convert`: write any checkpoint as a safetensors file with our tensor names, and its record.
import { stat } from 'node:fs/promises'
import { openModel } from '../open-model.ts'
import { saveModel } from '../save-model.ts'
import type { WriteOptions } from '../weights/formats/safetensors/write.ts'
import { type ModelArguments, modelOptionsOf } from './options/model-options.ts'
import { say } from './terminal/print.ts'

export interface ConvertArguments extends ModelArguments {
  readonly dtype: keyof typeof dtypes
  readonly folded?: boolean
}

/** The names on the command line, as for `--precision`. */
export const dtypes = { fp32: 'F32', fp16: 'F16', bf16: 'BF16' } as const satisfies {
  [name: string]: NonNullable<WriteOptions['dtype']>
}

export async function convert(model: string, out: string, options: ConvertArguments): Promise<number> {
  const { dtype, folded = false } = options
  await using opened = await openModel(model, modelOptionsOf(options))
  await saveModel(out, opened, { dtype: dtypes[dtype], folded })
  const { size } = await stat(out)
  const kind = folded ? ', batch norms folded' : ''
  say(
    `${out}: ${opened.network.name}, ${opened.labels.length} classes, ${dtype}${kind}, ${(size / 2 ** 20).toFixed(1)} MiB`,
  )
  say(`Converted from ${opened.checkpoint.format} with ${opened.scheme.name} names.`)
  if (opened.weights.quantization)
    say(
      'Weights of 8 bits were written as the numbers they stand for. The quantization is not in the file: keep the original for int8.',
    )
  return 0
}
