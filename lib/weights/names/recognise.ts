// Recognition of a file: its naming scheme, and the network it holds.
import { ResidualError } from '../../errors.ts'
import type { Network } from '../../model/graph.ts'
import { parametersOf } from '../../model/parameters.ts'
import { type ResNetOptions, resnet } from '../../model/resnet.ts'
import { architectureKey, type Checkpoint, problemKey } from '../checkpoint/checkpoint.ts'
import { checkParameters, type WeightSource } from '../source.ts'
import { excerpt } from './excerpt.ts'
import { inferResNet } from './infer.ts'
import { findNetwork } from './networks.ts'
import { checkNothingElse } from './outside.ts'
import type { Scheme } from './scheme.ts'
import { translate } from './translated.ts'
import { findUnsupported } from './unsupported.ts'

/** A network that a file was found to hold. */
export interface Recognised {
  readonly scheme: Scheme
  /** What stands before all names in the file: `state_dict.module.`, say. */
  readonly prefix: string
  readonly architecture: ResNetOptions
  readonly network: Network
  /** Its tensors, under the names that the network has for them. */
  readonly weights: WeightSource
}

/**
 * Finds scheme and prefix by the names in the file and the architecture by the shapes. `known` is what somebody else says of the
 * architecture: it is believed, and if it has `layers`, nothing is inferred. `wanted` is what the names of the network begin with,
 * where the file holds several, or more than one network.
 *
 * @throws ResidualError CHECKPOINT_MISMATCH where the file holds no ResNet that can be run, or another one than is `known`
 */
export function recognise(file: Checkpoint, known: Partial<ResNetOptions> = {}, wanted?: string): Recognised {
  try {
    const problem = file.metadata.get(problemKey)
    if (problem !== undefined) throw mismatch(`${file.path} cannot be run: ${problem}`)
    const { scheme: found, prefix, others } = findNetwork(file, wanted)
    const said = { ...metadataOf(file), ...known }
    const { averagedShortcut = found.averagedShortcut ?? false } = said // which our names for projections depend on
    const scheme = { ...withOwnClassifier(found, prefix, file), averagedShortcut }
    const { stride, epsilon } = scheme
    const told = { stride, epsilon, ...(averagedShortcut && { averagedShortcut }) }
    const inferred = known.layers === undefined ? inferResNet(translate(file, scheme, prefix)) : {}
    const architecture = { ...told, ...inferred, ...said } as ResNetOptions
    const network = build(architecture, file)
    const parameters = parametersOf(network)
    const names = parameters.map(({ name }) => name)
    const weights = translate(file, scheme, prefix, names)
    checkParameters(parameters, weights)
    if (wanted === undefined) checkNothingElse(file, [prefix, ...others])
    return { scheme, prefix, architecture, network, weights }
  } catch (error) {
    throw byName(error, file)
  }
}

/**
 * The scheme with the classifier that the file has. People who fine-tune put one of their own on the network, under any name: the
 * linear layer of the file, if it has just one.
 */
function withOwnClassifier(scheme: Scheme, prefix: string, { tensors }: Checkpoint): Scheme {
  const [first, after, ...more] = scheme.tensors.linearWeight.split('{classifier}') as [string, string]
  const before = prefix + first
  if (more.length > 0 || tensors.has(before + scheme.classifier + after)) return scheme
  const linear = [...tensors].filter(
    ([name, { shape }]) => shape.length === 2 && name.startsWith(before) && name.endsWith(after),
  )
  if (linear.length !== 1) return scheme
  const [[name]] = linear as [[string, unknown]]
  return { ...scheme, classifier: name.slice(before.length, name.length - after.length) }
}

function metadataOf({ metadata, path }: Checkpoint): Partial<ResNetOptions> {
  const text = metadata.get(architectureKey)
  if (text === undefined) return {}
  try {
    const json: unknown = JSON.parse(text)
    if (typeof json === 'object' && json !== null) return json
  } catch {} // told below
  throw mismatch(`The metadata '${architectureKey}' of ${path} is no JSON object`)
}

function build(architecture: ResNetOptions, file: Checkpoint): Network {
  try {
    return resnet(architecture)
  } catch (cause) {
    throw mismatch(`${file.path} holds no ResNet that can be run: ${(cause as Error).message}`, cause)
  }
}

/** What does not fit is called by its name where that is known. */
function byName(error: unknown, file: Checkpoint): unknown {
  if (!(error instanceof ResidualError && error.code === 'CHECKPOINT_MISMATCH')) return error
  const found = findUnsupported(file.tensors.keys())
  if (!found) return error
  const problem = `${file.path} holds ${found.what}, as '${excerpt([found.name])}' shows`
  const remedy = found.remedy ?? 'what can be run are plain ResNets, ResNeXts and wide ResNets'
  return mismatch(`${problem}: ${remedy}`, error)
}

const mismatch = (problem: string, cause?: unknown) =>
  new ResidualError('CHECKPOINT_MISMATCH', `${problem}.`, { cause })
