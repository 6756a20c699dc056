// cuDNN's JSON description of a compiled plan, parsed as far as people and tests need it.

/** A tensor of an operation graph; `name` is its uid. Strides and dimensions are in the order N, C, H, W. */
export interface CudnnTensor {
  readonly name: string
  readonly dataType: string
  readonly dim: readonly number[]
  readonly stride: readonly number[]
  readonly isVirtual: boolean
}

export interface CudnnNode {
  readonly operation: string
  readonly pad?: readonly number[]
  readonly stride?: readonly number[]
  readonly dilation?: readonly number[]
  readonly mathPrec?: string
  readonly pointwiseMode?: string
  /** Uids. */
  readonly X: string
  readonly Y: string
  readonly W?: string
  readonly B?: string
}

export interface CudnnPlan {
  readonly tensors: readonly CudnnTensor[]
  readonly nodes: readonly CudnnNode[]
  readonly engine: number
  /** Names of the compiled kernels; empty for an engine that ships compiled with cuDNN. */
  readonly kernels: readonly string[]
}

/** Reads `CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION`. Throws a `SyntaxError` or `TypeError` for anything else. */
export function parseCudnnPlan(json: string): CudnnPlan {
  const { operationGraph, engine } = JSON.parse(json)
  const kernels: { kernelName: string }[] = engine.payload?.kernels ?? []
  return {
    tensors: operationGraph.tensors,
    nodes: operationGraph.nodes,
    engine: engine.engineId,
    kernels: kernels.map(kernel => kernel.kernelName),
  }
}
