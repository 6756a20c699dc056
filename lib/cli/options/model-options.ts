// Command-line options that describe a model: they add to what its file says, or override it.
import { type Command, Option } from 'commander'
import { type Activation, activations } from '../../model/activation.ts'
import type { ModelOptions } from '../../open-model.ts'
import {
  type PreprocessingArguments,
  preprocessingOf,
  preprocessingOptions,
  replacingGroup,
} from './preprocessing-options.ts'

/** Of every command that takes a model. */
export interface NetworkArguments {
  readonly activation?: Activation
  readonly prefix?: string
}

export interface ModelArguments extends NetworkArguments, PreprocessingArguments {
  /** A file. */
  readonly labels?: string
}

/** Gives a command the options that {@link NetworkArguments} are made of. */
export function networkOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--activation <activation>', 'what makes probabilities of the logits')
        .choices([...activations])
        .helpGroup(replacingGroup),
    )
    .addOption(
      new Option(
        '--prefix <names>',
        'what the names of the network begin with, where the file holds more than one',
      ).helpGroup(replacingGroup),
    )
}

/** Gives a command the options that {@link ModelArguments} are made of. */
export function modelOptions(command: Command): Command {
  const labels = 'names of the classes: a list, an object by number, or a name in each line'
  return preprocessingOptions(
    networkOptions(command).addOption(new Option('--labels <file>', labels).helpGroup(replacingGroup)),
  )
}

/** What was given of them, for `openModel` and what is built on it. */
export function networkOptionsOf({ activation, prefix }: NetworkArguments): ModelOptions {
  return { ...(activation !== undefined && { activation }), ...(prefix !== undefined && { prefix }) }
}

export function modelOptionsOf(args: ModelArguments): ModelOptions {
  const { labels } = args
  return { ...networkOptionsOf(args), ...preprocessingOf(args), ...(labels !== undefined && { labels }) }
}
