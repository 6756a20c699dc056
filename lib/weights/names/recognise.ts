// Recognition of a file: its naming scheme, and the network it holds.
import { ResidualError } from '../../errors.ts'
import { type Architecture, networkOf } from '../../model/architecture.ts'
import type { Network } from '../../model/graph.ts'
import { parametersOf } from '../../model/parameters.ts'
import { architectureKey, type Checkpoint, problemKey } from '../checkpoint/checkpoint.ts'
import { checkParameters, type WeightSource } from '../source.ts'
import { checkNothingElse } from './extra-tensors.ts'
import { inferResNet } from './infer.ts'
import { excerpt } from './name-list.ts'
import { findNetwork } from './networks.ts'
import type { Scheme } from './scheme.ts'
import { translate } from './translated.ts'
import { findUnsupported } from './unsupported.ts'

/** A network recognised in a file. */
export interface Recognised {
  readonly scheme: Scheme
  /** The prefix of all names in the file, such as `state_dict.module.`. */
  readonly prefix: string
  readonly architecture: Architecture
  readonly network: Network
  /** Its tensors, under the network's own names. */
  readonly weights: WeightSource
}

/**
 * Finds the scheme and the prefix from the names in the file, and the architecture from the shapes. `known` is what is known
 * of the architecture: it is trusted, and if it has `layers`, nothing is inferred. `wanted` is the prefix of the network's names,
 * if the file holds more than that network.
 *
 * @throws ResidualError CHECKPOINT_MISMATCH if the file holds no supported ResNet, or a different one from `known`;
 *   CHECKPOINT_INVALID if it states a malformed quantization
 */
export function recognise(file: Checkpoint, known: Partial<Architecture> = {}, wanted?: string): Recognised {
  try {
    const problem = file.metadata.get(problemKey)
    if (problem !== undefined) throw mismatch(`${file.path} is not supported: ${problem}`)
    const { scheme: found, prefix, others } = findNetwork(file, wanted)
    const said = { ...metadataOf(file), ...known }
    const { averagedShortcut = found.averagedShortcut ?? false } = said // our names for projections depend on it
    const scheme = { ...withOwnClassifier(found, prefix, file), averagedShortcut }
    const { stride, epsilon } = scheme
    const told = { stride, epsilon, ...(averagedShortcut && { averagedShortcut }) }
    const inferred = known.layers === undefined ? inferResNet(translate(file, scheme, prefix)) : {}
    const architecture = { ...told, ...inferred, ...said } as Architecture
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
 * The scheme with the file's own classifier. Fine-tuned networks may have one under any name: it is the file's linear layer, if
 * there is only one.
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

function metadataOf({ metadata, path }: Checkpoint): Partial<Architecture> {
  const text = metadata.get(architectureKey)
  if (text === undefined) return {}
  try {
    const json: unknown = JSON.parse(text)
    if (typeof json === 'object' && json !== null) return json
  } catch {} // reported below
  throw mismatch(`The metadata '${architectureKey}' of ${path} must be a JSON object`)
}

function build(architecture: Architecture, file: Checkpoint): Network {
  try {
    return networkOf(architecture)
  } catch (cause) {
    throw mismatch(`${file.path} does not hold a supported ResNet: ${(cause as Error).message}`, cause)
  }
}

/** Names what does not fit, if it is recognised. */
function byName(error: unknown, file: Checkpoint): unknown {
  if (!(error instanceof ResidualError && error.code === 'CHECKPOINT_MISMATCH')) return error
  const found = findUnsupported(file.tensors.keys())
  if (!found) return error
  const problem = `${file.path} holds ${found.what}, as '${excerpt([found.name])}' shows`
  const remedy = found.remedy ?? 'supported are plain ResNets, ResNeXts and wide ResNets'
  return mismatch(`${problem}: ${remedy}`, error)
}

const mismatch = (problem: string, cause?: unknown) =>
  new ResidualError('CHECKPOINT_MISMATCH', `${problem}.`, { cause })
