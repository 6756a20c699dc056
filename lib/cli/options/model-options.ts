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

/** The arguments of every command that takes a model. */
export interface NetworkArguments {
  readonly activation?: Activation
  readonly prefix?: string
}

export interface ModelArguments extends NetworkArguments, PreprocessingArguments {
  /** A file. */
  readonly labels?: string
}

/** Adds the options for {@link NetworkArguments} to a command. */
export function networkOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--activation <activation>', 'activation that turns logits into probabilities')
        .choices([...activations])
        .helpGroup(replacingGroup),
    )
    .addOption(
      new Option(
        '--prefix <names>',
        "prefix of the network's tensor names, if the file holds more than one network",
      ).helpGroup(replacingGroup),
    )
}

/** Adds the options for {@link ModelArguments} to a command. */
export function modelOptions(command: Command): Command {
  const labels = 'file of class labels: a JSON list, a JSON object by index, or one label per line'
  return preprocessingOptions(
    networkOptions(command).addOption(new Option('--labels <file>', labels).helpGroup(replacingGroup)),
  )
}

/** The given arguments as options of `openModel` and its callers. */
export function networkOptionsOf({ activation, prefix }: NetworkArguments): ModelOptions {
  return { ...(activation !== undefined && { activation }), ...(prefix !== undefined && { prefix }) }
}

export function modelOptionsOf(args: ModelArguments): ModelOptions {
  const { labels } = args
  return { ...networkOptionsOf(args), ...preprocessingOf(args), ...(labels !== undefined && { labels }) }
}
