// `residual info`: what do this installation and this machine offer?
import { availableParallelism } from 'node:os'
import { imagenet, inputSize } from '../image/preprocess.ts'
import { alignColumns, formatPlan } from '../model/format-plan.ts'
import { lower } from '../model/lower.ts'
import type { Plan } from '../model/plan.ts'
import { resnet, supportedLayers } from '../model/resnet.ts'
import { bundledModels, findModel, type ModelFile, readModelRecord } from '../model-record.ts'
import { type BackendReport, findBackends } from '../runtime/device.ts'
import { loadNative } from '../runtime/native.ts'
import { inferResNet } from '../weights/names/torchvision.ts'
import { openSafetensors } from '../weights/safetensors.ts'
import { fromSafetensors } from '../weights/source.ts'
import { packageVersion } from './version.ts'

export interface InfoArguments {
  readonly plan?: string
  readonly size: number
  readonly json?: boolean
}

interface Facts {
  readonly residual: string
  readonly node: string
  readonly platform: string
  /** Null where the addon cannot be loaded. */
  readonly compiler: string | null
  readonly threads: number
  readonly isa: string | null
  readonly backends: readonly BackendReport[]
  readonly models: readonly ModelFile[]
}

export async function info({ plan: model, size, json }: InfoArguments): Promise<number> {
  if (model !== undefined) {
    const plan = await planOf(model, size)
    console.log(json ? JSON.stringify(plan) : formatPlan(plan))
    return 0
  }
  const backends = findBackends()
  const [cpu] = backends
  const facts: Facts = {
    residual: packageVersion(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    compiler: cpu?.available ? loadNative().info.compiler : null,
    threads: availableParallelism(),
    isa: cpu?.available ? (process.env.RESIDUAL_CPU_ISA ?? loadNative().info.capabilities[0]!) : null,
    backends,
    models: bundledModels(),
  }
  console.log(json ? JSON.stringify(facts, null, 2) : factsText(facts))
  return cpu?.available ? 0 : 1
}

function factsText(facts: Facts): string {
  const lines = [
    ['residual', facts.residual],
    ['node', `${facts.node} on ${facts.platform}`],
    ['addon', facts.compiler === null ? 'not built' : `compiled by ${facts.compiler}`],
    ['threads', String(facts.threads)],
    ['instruction set', facts.isa ?? 'none'],
    ...facts.backends.map(({ name, available, details }) => [
      `backend ${name}`,
      `${available ? 'available' : 'not available'}: ${details}`,
    ]),
    ...facts.models.map(({ name, path }) => [`model ${name}`, path]),
  ]
  return alignColumns(lines).join('\n')
}

async function planOf(model: string, size: number): Promise<Plan> {
  const layers = supportedLayers.find(count => model === `resnet${count}`)
  if (layers !== undefined)
    return lower(resnet({ layers }), { height: size, width: size, mean: imagenet.mean, std: imagenet.std })
  const file = findModel(model)
  const record = await readModelRecord(file)
  const { mean, std } = record.preprocessing
  const shape = { ...inputSize(record.preprocessing), mean, std }
  if (record.architecture) return lower(resnet(record.architecture), shape)
  const tensors = await openSafetensors(file.path)
  try {
    return lower(resnet(inferResNet(fromSafetensors(tensors))), shape)
  } finally {
    await tensors.close()
  }
}
