// The configuration of a Keras model: its layers and its output activation.
import type { Activation } from '../../../model/activation.ts'

/** A layer, or a model used as a layer. */
export interface KerasLayer {
  readonly className: string
  readonly name: string
  readonly config: Fields
  /** The arguments of its call. */
  readonly inbound: unknown
}

type Fields = { readonly [name: string]: unknown }

/** The layers of a functional or sequential model, in order; empty for anything else. */
export function layersOf(model: unknown): KerasLayer[] {
  const layers = field(field(model, 'config'), 'layers')
  if (!Array.isArray(layers)) return []
  return layers.flatMap(layer => {
    const className = field(layer, 'class_name')
    const config = field(layer, 'config')
    const name = field(layer, 'name') ?? field(config, 'name')
    if (typeof className !== 'string' || typeof name !== 'string') return []
    const inbound = field(layer, 'inbound_nodes')
    return [{ className, name, config: isFields(config) ? config : {}, inbound }]
  })
}

/**
 * The name of the model's output activation, one of ours or another. Without one, it is implied by its loss (`from_logits`).
 * Undefined if the configuration does not say.
 */
export function activationOf(model: unknown, training: unknown): string | undefined {
  const last = outputLayer(model)
  if (!last) return undefined
  const { className, config } = last
  if (className === 'Softmax') return 'softmax'
  const name = activationName(config.activation)
  if (name === undefined || (name === 'linear' && className !== 'Dense')) return undefined
  return name === 'linear' ? lossActivation(field(training, 'loss')) : name
}

const mostModels = 16 // nesting depth

function outputLayer(model: unknown): KerasLayer | undefined {
  let last: KerasLayer | undefined
  for (let inner = model, depth = 0; depth < mostModels; depth++) {
    const layers = layersOf(inner)
    if (layers.length === 0) return last
    const name = outputName(field(field(inner, 'config'), 'output_layers'))
    last = name === undefined ? layers.at(-1)! : layers.find(layer => layer.name === name)
    if (!last) return undefined
    inner = { config: last.config }
  }
  return undefined
}

/** The name in `['predictions', 0, 0]`, or in a list of one such. */
function outputName(layers: unknown): string | undefined {
  const first = Array.isArray(layers) ? layers[0] : undefined
  const name = Array.isArray(first) ? first[0] : first
  return typeof name === 'string' ? name : undefined
}

/** `'softmax'`, or as an object `{ class_name: 'function', config: 'softmax' }`. */
function activationName(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  const [name, className] = [field(value, 'config'), field(value, 'class_name')]
  return typeof name === 'string' ? name : typeof className === 'string' ? className.toLowerCase() : undefined
}

/** The activation implied by a loss that takes logits. */
function lossActivation(loss: unknown): Activation {
  const name = field(loss, 'class_name')
  if (field(field(loss, 'config'), 'from_logits') !== true || typeof name !== 'string') return 'none'
  if (/^Binary/.test(name)) return 'sigmoid'
  return /Categorical/.test(name) ? 'softmax' : 'none'
}

/** Whether a value from JSON, which may be anything, is an object. */
function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function field(value: unknown, name: string): unknown {
  return isFields(value) && Object.hasOwn(value, name) ? value[name] : undefined
}

/** Undefined for text that is not JSON. */
export function parseJson(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}
