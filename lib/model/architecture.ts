// The architecture of a network: which member of its family it is, as records, checkpoints and saved models state it.
import type { Network } from './graph.ts'
import { type ResNetOptions, resnet, resnetOptionNames } from './resnet.ts'

/** The options of a network's family. There is one family, ResNets; a second one would make this a union told apart by name. */
export type Architecture = ResNetOptions

export const architectureNames = resnetOptionNames

/** @throws TypeError, RangeError for options that do not exist */
export function networkOf(architecture: Architecture): Network {
  return resnet(architecture)
}
