// Command-line options that override a checkpoint's preprocessing.
import { type Command, Option } from 'commander'
import type { Preprocessing } from '../../image/preprocess.ts'
import type { PreprocessingChanges } from '../../image/preprocessing-changes.ts'
import { fraction, positiveNumber, triple } from './numbers.ts'
import { parseSteps } from './steps.ts'

/** Each has the name of what it replaces. */
export type PreprocessingArguments = PreprocessingChanges

/** Gives a command the options that {@link PreprocessingArguments} are made of. */
export function preprocessingOptions(command: Command): Command {
  const only = (name: string, about: string, values: readonly string[]) =>
    new Option(name, about).choices(values).helpGroup(replacingGroup)
  const parsed = (name: string, about: string, parse: (text: string) => unknown) =>
    new Option(name, about).argParser(parse).helpGroup(replacingGroup)
  return command
    .addOption(parsed('--steps <steps>', "such as 'resize 256, crop 224x224'", parseSteps))
    .addOption(
      parsed('--crop-fraction <f>', 'share of the shorter side that is seen, 0.875 say', fraction).conflicts(
        'steps',
      ),
    )
    .addOption(only('--interpolation <filter>', 'of resizing', ['bilinear', 'bicubic']))
    .addOption(parsed('--mean <a,b,c>', 'what is subtracted, in the order of --channels', triple))
    .addOption(parsed('--std <a,b,c>', 'what the rest is divided by', triple))
    .addOption(parsed('--range <n>', 'what byte 255 stands for before that: 1 or 255', positiveNumber))
    .addOption(only('--channels <order>', 'in which the network takes them', ['RGB', 'BGR']))
    .addOption(only('--crop-rounding <way>', 'of where a crop begins', ['even', 'down']))
}

export const replacingGroup = 'In place of what goes with the checkpoint:'

const members = {
  steps: true,
  cropFraction: true,
  interpolation: true,
  mean: true,
  std: true,
  range: true,
  channels: true,
  cropRounding: true,
} as const satisfies { readonly [name in keyof (Preprocessing & PreprocessingChanges)]-?: true }

/** What was given of them, for `openModel` and what is built on it. */
export function preprocessingOf(args: PreprocessingArguments): { preprocessing?: PreprocessingChanges } {
  const given = Object.keys(members).filter(name => args[name as keyof PreprocessingArguments] !== undefined)
  if (given.length === 0) return {}
  return {
    preprocessing: Object.fromEntries(given.map(name => [name, args[name as keyof PreprocessingArguments]])),
  }
}
