// `residual compile`: compile a model's convolutions for a GPU, on a machine that need not have one.
import { resolve } from 'node:path'
import { alignColumns } from '../model/format-plan.ts'
import { type CompileReport, compilePlan, readGpu } from '../runtime/compile.ts'
import type { GpuPrecision } from '../runtime/session-options.ts'
import { type NetworkArguments, networkOptionsOf } from './options/model-options.ts'
import { planOf } from './options/named-model.ts'
import { say, sayAll, sayJson } from './terminal/print.ts'

export interface CompileArguments extends NetworkArguments {
  readonly gpu: string
  readonly model: string
  readonly precision: GpuPrecision
  readonly batch: readonly number[]
  readonly out: string
  readonly size: number
  readonly json?: boolean
}

export async function compile(options: CompileArguments): Promise<number> {
  const { gpu, model, precision, batch: batches, out, size, json } = options
  const plan = await planOf(model, size, networkOptionsOf(options))
  const text = readGpu(gpu)
  const all: { batch: number; ops: Omit<CompileReport, 'json'>[] }[] = []
  for (const batch of batches) {
    const begin = Date.now()
    const reports = await compilePlan(plan, { gpu: text, precision, batch, out: resolve(out) })
    const ops = reports.map(({ json: _, ...report }) => report)
    all.push({ batch, ops })
    if (json) continue
    const seconds = ((Date.now() - begin) / 1000).toFixed(1)
    say(`${model} for ${gpu}, ${precision}, batch ${batch} (${seconds} s)`)
    sayAll(`${table(ops)}\n`)
  }
  if (json) sayJson(all)
  else say(`The plans are in ${resolve(out)}. Pass that folder to a session as planCache.`)
  return all.every(({ ops }) => ops.every(op => op.refused === null)) ? 0 : 1
}

function table(reports: readonly Omit<CompileReport, 'json'>[]): string {
  const first = new Map<string, string>() // the first operation of each plan; others that share the plan refer to it
  const rows = reports.map(report => {
    const { name, key, engine, workspaceBytes, kernels, oneKernel, cached, refused } = report
    const shared = key === null ? undefined : first.get(key)
    if (key !== null && shared === undefined) first.set(key, name)
    if (refused !== null) return [name, '', '', '', `refused by cuDNN, run by residual: ${refused}`]
    if (key === null) return [name, '', '', 'yes', "residual's own kernel"]
    if (shared !== undefined) return [name, '', '', '', `as ${shared}`]
    const kernel = kernels.length > 0 ? kernels.join(', ') : 'compiled with cuDNN'
    const one = oneKernel === null ? '?' : oneKernel ? 'yes' : 'no'
    return [
      name,
      `${engine}`,
      `${(workspaceBytes / 2 ** 20).toFixed(1)} MiB`,
      one,
      cached ? `${kernel} (cached)` : kernel,
    ]
  })
  return alignColumns([['operation', 'engine', 'workspace', 'one kernel', 'kernel'], ...rows]).join('\n')
}
