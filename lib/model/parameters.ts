// The parameters of a network: the tensors it needs from a checkpoint.
import type { Network } from './graph.ts'
import { product } from './product.ts'

/** One tensor: convolution weights are `[K, C/groups, R, S]`, linear ones `[K, C]`, all others `[C]`. */
export interface Parameter {
  readonly name: string
  readonly shape: readonly number[]
  readonly role: 'convWeight' | 'bnWeight' | 'bnBias' | 'bnMean' | 'bnVar' | 'linearWeight' | 'linearBias'
}

/** All tensors in the order of the layers, which for a ResNet is that of torchvision's state dict. */
export function parametersOf({ graph }: Network): Parameter[] {
  return graph.layers.flatMap((layer, id): Parameter[] => {
    const channels = graph.channels[id]!
    if (layer.kind === 'conv') {
      const shape = [channels, graph.channels[layer.src]! / layer.groups, layer.kernel, layer.kernel]
      return [{ name: `${layer.name}.weight`, shape, role: 'convWeight' }]
    }
    if (layer.kind === 'batchNorm') {
      const shape = [channels]
      return [
        { name: `${layer.name}.weight`, shape, role: 'bnWeight' },
        { name: `${layer.name}.bias`, shape, role: 'bnBias' },
        { name: `${layer.name}.running_mean`, shape, role: 'bnMean' },
        { name: `${layer.name}.running_var`, shape, role: 'bnVar' },
      ]
    }
    if (layer.kind === 'linear') {
      const weightShape = [channels, graph.channels[layer.src]!]
      return [
        { name: `${layer.name}.weight`, shape: weightShape, role: 'linearWeight' },
        { name: `${layer.name}.bias`, shape: [channels], role: 'linearBias' },
      ]
    }
    return []
  })
}

/** How many numbers training would change: all but the running statistics. */
export function trainableCount(parameters: readonly Parameter[]): number {
  return parameters
    .filter(({ role }) => role !== 'bnMean' && role !== 'bnVar')
    .reduce((sum, { shape }) => sum + product(shape), 0)
}
