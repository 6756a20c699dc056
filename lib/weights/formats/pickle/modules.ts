// Whole PyTorch modules in a pickle: where their tensors are, and what else they say of the network.
import type { Activation } from '../../../model/activation.ts'
import type { Architecture } from '../../../model/architecture.ts'
import { Dict, Opaque, type Value } from './values.ts'

/** A module and its path in the saved module: `layer1.0.conv1`. */
export interface FoundModule {
  readonly name: string
  readonly className: string
  readonly attributes: Dict
}

/** The attributes whose contents `state_dict()` lists. */
const members = ['_parameters', '_buffers', '_modules']

/** The attributes of a module; undefined for anything else. */
export function attributesOf(value: Value): Dict | undefined {
  if (!(value instanceof Opaque)) return undefined
  const state = Array.isArray(value.state) ? (value.state as readonly Value[])[0] : value.state
  return state instanceof Dict && members.some(name => state.entries?.get(name) instanceof Dict)
    ? state
    : undefined
}

/** The module's parameters, buffers and submodules. */
export function* membersOfModule(attributes: Dict): Generator<readonly [unknown, Value]> {
  for (const member of members) {
    const dict = attributes.entries?.get(member)
    if (dict instanceof Dict) yield* dict.entries ?? []
  }
}

/** Facts that modules state and tensors do not. */
export interface ModuleFacts {
  readonly architecture: Pick<Architecture, 'stride' | 'epsilon'>
  readonly activation?: Activation
}

const activations: { readonly [name: string]: Activation | undefined } = {
  ReLU: undefined, // which every ResNet has
  Softmax: 'softmax',
  LogSoftmax: 'softmax',
  Sigmoid: 'sigmoid',
}

/**
 * The facts stated by a network's modules.
 *
 * @param refuse throws for a module that no ResNet has, even though its tensors may be a ResNet's
 */
export function factsOf(modules: readonly FoundModule[], refuse: (what: string) => never): ModuleFacts {
  const epsilons = new Set<number>()
  let activation: Activation | undefined
  for (const { name, className, attributes } of modules) {
    const number = (attribute: string) => attributes.entries?.get(attribute)
    const [, kind] = /^torch\.nn\.modules\.activation\.(\w+)$/.exec(className) ?? []
    if (kind !== undefined && !Object.hasOwn(activations, kind)) refuse(`'${name}' is a ${className}`)
    activation = (kind === undefined ? undefined : activations[kind]) ?? activation
    if (/\.BatchNorm2d$/.test(className)) {
      const epsilon = number('eps')
      if (typeof epsilon === 'number') epsilons.add(epsilon)
    }
    const dilation = number('dilation')
    if (/\.Conv2d$/.test(className) && Array.isArray(dilation) && dilation.some(step => step !== 1))
      refuse(`the convolution '${name}' is dilated by ${dilation.join('x')}`)
  }
  if (epsilons.size > 1) refuse(`its batch norms have the epsilons ${[...epsilons].join(' and ')}`)
  const [epsilon] = epsilons
  const stride = strideOf(modules)
  return {
    architecture: { ...(epsilon !== undefined && { epsilon }), ...(stride && { stride }) },
    ...(activation && { activation }),
  }
}

/** The stride of a bottleneck, which has a third convolution, unlike a basic block. */
function strideOf(modules: readonly FoundModule[]): Architecture['stride'] {
  const strides = ['conv1', 'conv2', 'conv3'].map(conv => {
    const found = modules.find(({ name }) => new RegExp(`(^|\\.)layer2\\.0\\.${conv}$`).test(name))
    const stride = found?.attributes.entries?.get('stride')
    return Array.isArray(stride) ? stride[0] : undefined
  })
  if (strides[2] === undefined) return undefined
  return strides[0] === 2 ? 'v1' : 'v1.5'
}
