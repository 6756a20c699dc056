import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import {
  type CompileReport,
  compilePlan,
  type GpuPrecision,
  knownGpus,
  lower,
  type Op,
  type Plan,
  readGpu,
  resnet,
} from '../../lib/index.ts'
import { type CudnnTensor, parseCudnnPlan } from '../../lib/runtime/cuda/cudnn-plan.ts'
import { addonPath } from '../../lib/runtime/native.ts'
import { expectedCudnn, notBuilt } from '../support/twin.ts'

const models: readonly (readonly [name: string, plan: Plan])[] = [
  ...([50, 101, 152] as const).map(layers => {
    const shape = { height: 224, width: 224, mean: [0, 0, 0], std: [1, 1, 1] }
    return [`resnet${layers}`, lower(resnet({ layers }), shape)] as const
  }),
  ['resnet50-cifar10', bundledPlan()],
]
const precisions = ['fp16', 'bf16', 'tf32'] as const
const maxWorkspaceBytes = 256 * 2 ** 20
/** GPUs on which every convolution in fp16 must be one kernel. */
const fusesAll = ['a100', 'l4', 'h100', 'b200']
const batchFor = (gpu: string) => (gpu === 'h100' || gpu === 'b200' ? 32 : 8)

function bundledPlan(): Plan {
  const record = JSON.parse(readFileSync(join(packageRoot, 'models', 'resnet50-cifar10.json'), 'utf8'))
  return lower(resnet(record.architecture), { height: 64, width: 64, mean: [0, 0, 0], std: [1, 1, 1] })
}

const missing = notBuilt(addonPath('cuda'))

const rows: string[] = []
let cudnnVersion = ''
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'residual-plans-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe.skipIf(missing).each(knownGpus())('cuDNN for %s', gpu => {
  it.each(precisions)(
    'compiles every convolution in %s, and computes what the plan says',
    async precision => {
      const batch = batchFor(gpu)
      if (gpu === 't4' && precision === 'bf16') {
        await expect(compile(models[0]![1], gpu, precision, batch)).rejects.toMatchObject({
          code: 'PRECISION_UNSUPPORTED',
        })
        return
      }
      const plans = new Map<string, CompileReport>()
      for (const [name, plan] of models) {
        const reports = await compile(plan, gpu, precision, batch)
        expect(reports.map(report => report.name)).toEqual(plan.ops.map(op => op.name))
        for (const [i, report] of reports.entries()) {
          const op = plan.ops[i]!
          if (op.kind !== 'conv' && op.kind !== 'linear') continue
          const what = `${name} ${op.name}`
          expect(report, what).toMatchObject({ by: 'cuDNN', refused: null })
          expect(report.workspaceBytes, what).toBeLessThanOrEqual(maxWorkspaceBytes)
          if (precision === 'fp16' && fusesAll.includes(gpu)) expect(report.oneKernel, what).toBe(true)
          checkGraph(report.json!, plan, op, { precision, batch })
          plans.set(report.key!, report)
        }
      }
      rows.push(tableRow(gpu, precision, batch, [...plans.values()]))
      const versions = [...plans.values()].map(report => String(JSON.parse(report.json!).cudnnVersion))
      cudnnVersion = versions[0]!
      expect(new Set(versions)).toEqual(new Set([expectedCudnn ? cudnnNumber(expectedCudnn) : cudnnVersion]))
    },
  )
})

describe.skipIf(missing)('docs/plans.md', () => {
  it('matches what cuDNN does', async () => {
    const { cudnn } = await import(join(packageRoot, 'scripts', 'cuda', 'wheels.mjs'))
    if (cudnnVersion !== cudnnNumber(cudnn.version)) {
      console.log(
        `skipped: docs/plans.md is of cuDNN ${cudnn.version}, which is pinned; here is ${cudnnVersion}`,
      )
      return
    }
    const file = join(packageRoot, 'docs', 'plans.md')
    await expect(`${tableHead(cudnnVersion)}\n${rows.join('\n')}\n`).toMatchFileSnapshot(file)
  })
})

/** 9.12.0 as cuDNN writes it: 91200. */
function cudnnNumber(version: string): string {
  const [major, minor, patch] = version.split('.').map(Number)
  return String(major! * 10000 + minor! * 100 + patch!)
}

/** Models share a folder, so what ResNet-50 has compiled is there for ResNet-101 and -152. */
const compile = (plan: Plan, gpu: string, precision: GpuPrecision, batch: number) =>
  compilePlan(plan, { gpu: readGpu(gpu), precision, batch, out: join(folder, gpu) })

/** The graph that cuDNN says it compiled, against one derived from the plan here. */
function checkGraph(
  json: string,
  plan: Plan,
  op: Op & { kind: 'conv' | 'linear' },
  { precision, batch }: { precision: GpuPrecision; batch: number },
): void {
  const storage =
    { fp16: 'CUDNN_DATA_HALF', bf16: 'CUDNN_DATA_BFLOAT16' }[precision as string] ?? 'CUDNN_DATA_FLOAT'
  const lanes = storage === 'CUDNN_DATA_FLOAT' ? 4 : 8
  const padded = (channels: number) => Math.ceil(channels / lanes) * lanes
  const [src, dst] = [plan.values[op.src]!, plan.values[op.dst]!]
  const { kernel, stride, padding, relu, residual } =
    op.kind === 'conv' ? op : { kernel: 1, stride: 1, padding: 0, relu: false, residual: null }
  const tensor = (uid: string, dataType: string, dim: number[], isVirtual = false) => {
    const [, c, h, w] = dim as [number, number, number, number]
    return { name: uid, dataType, dim, stride: [c * h * w, 1, w * c, c], isVirtual }
  }
  const k = padded(dst.channels)
  const result = [batch, k, dst.height, dst.width]
  // Uids as in native/cuda/conv_spec.h; virtual tensors count on from 7.
  const [x, w, scale, bias, added, y] = ['1', '2', '3', '4', '5', '6'] as const
  const dstType = op.kind === 'linear' ? 'CUDNN_DATA_FLOAT' : storage
  const operands = [
    ...(precision === 'fp16' ? [['CUDNN_POINTWISE_MUL', scale]] : []),
    ['CUDNN_POINTWISE_ADD', bias],
    ...(residual === null ? [] : [['CUDNN_POINTWISE_ADD', added]]),
    ...(relu ? [['CUDNN_POINTWISE_RELU_FWD', undefined]] : []),
  ]
  const between = operands.map((_, i) => String(7 + i))
  const tensors = [
    tensor(x, storage, [batch, padded(src.channels), src.height, src.width]),
    tensor(w, storage, [k, padded(src.channels), kernel, kernel]),
    ...(precision === 'fp16' ? [tensor(scale, 'CUDNN_DATA_FLOAT', [1, k, 1, 1])] : []),
    tensor(bias, 'CUDNN_DATA_FLOAT', [1, k, 1, 1]),
    ...(residual === null ? [] : [tensor(added, storage, result)]),
    tensor(y, dstType, result),
    ...between.map(uid => tensor(uid, 'CUDNN_DATA_FLOAT', result, true)),
  ]
  const nodes = [
    {
      operation: 'CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR',
      mode: 'CUDNN_CROSS_CORRELATION',
      mathPrec: 'CUDNN_DATA_FLOAT',
      alpha: 1,
      beta: 0,
      pad: [padding, padding],
      stride: [stride, stride],
      dilation: [1, 1],
      X: x,
      W: w,
      Y: between[0],
    },
    ...operands.map(([pointwiseMode, operand], i) => ({
      operation: 'CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR',
      pointwiseMode,
      mathPrec: 'CUDNN_DATA_FLOAT',
      X: between[i],
      Y: between[i + 1] ?? y,
      ...(operand && { B: operand }),
    })),
  ]
  const actual = parseCudnnPlan(json)
  const byName = (a: CudnnTensor, b: CudnnTensor) => Number(a.name) - Number(b.name)
  expect([...actual.tensors].sort(byName)).toMatchObject(tensors)
  expect(actual.nodes).toMatchObject(nodes)
}

function tableHead(version: string): string {
  return [
    '# What cuDNN makes of ResNets',
    '',
    `Compiled by \`npm run test:plans\` with cuDNN ${version}, without a GPU: every distinct convolution of ResNet-50, -101,`,
    '-152 (224x224) and the bundled model. "One kernel": scale, bias, residual and ReLU run inside the convolution; "with',
    'cuDNN": the engine came compiled with the library, which does not say how many kernels it has.',
    '',
    '| GPU | precision | batch | plans | one kernel | with cuDNN | several kernels | engines | largest workspace |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- |',
  ].join('\n')
}

function tableRow(gpu: string, precision: string, batch: number, plans: readonly CompileReport[]): string {
  const count = (one: boolean | null) => plans.filter(plan => plan.oneKernel === one).length
  const engines = [...new Set(plans.map(plan => plan.engine!))].sort((a, b) => a - b).join(', ')
  const workspace = (Math.max(...plans.map(plan => plan.workspaceBytes)) / 2 ** 20).toFixed(1)
  const cells = [gpu, precision, batch, plans.length, count(true), count(null), count(false), engines]
  return `| ${cells.join(' | ')} | ${workspace} MiB |`
}
