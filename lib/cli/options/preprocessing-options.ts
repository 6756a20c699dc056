// Command-line options that override a checkpoint's preprocessing.
import { type Command, Option } from 'commander'
import { changeNames, type PreprocessingChanges } from '../../image/preprocessing-changes.ts'
import { fraction, positiveNumber, triple } from './numbers.ts'
import { parseSteps } from './preprocessing-steps.ts'

/** Each is named after the member that it replaces. */
export type PreprocessingArguments = PreprocessingChanges

/** Adds the options for {@link PreprocessingArguments} to a command. */
export function preprocessingOptions(command: Command): Command {
  const only = (name: string, about: string, values: readonly string[]) =>
    new Option(name, about).choices(values).helpGroup(replacingGroup)
  const parsed = (name: string, about: string, parse: (text: string) => unknown) =>
    new Option(name, about).argParser(parse).helpGroup(replacingGroup)
  return command
    .addOption(
      parsed('--steps <steps>', "preprocessing steps, such as 'resize 256, crop 224x224'", parseSteps),
    )
    .addOption(
      parsed(
        '--crop-fraction <f>',
        'fraction of the shorter side that is kept, such as 0.875',
        fraction,
      ).conflicts('steps'),
    )
    .addOption(only('--interpolation <filter>', 'resizing filter', ['bilinear', 'bicubic']))
    .addOption(parsed('--mean <a,b,c>', 'mean to subtract, in the order of --channels', triple))
    .addOption(parsed('--std <a,b,c>', 'standard deviation to divide by', triple))
    .addOption(parsed('--range <n>', 'value of byte 255 before normalising: 1 or 255', positiveNumber))
    .addOption(only('--channels <order>', 'channel order the network expects', ['RGB', 'BGR']))
    .addOption(only('--crop-rounding <way>', "rounding of a crop's offset", ['even', 'down']))
}

export const replacingGroup = "Override the checkpoint's own settings:"

/** The given arguments as options of `openModel` and its callers. */
export function preprocessingOf(args: PreprocessingArguments): { preprocessing?: PreprocessingChanges } {
  const given = Object.keys(changeNames).filter(
    name => args[name as keyof PreprocessingArguments] !== undefined,
  )
  if (given.length === 0) return {}
  return {
    preprocessing: Object.fromEntries(given.map(name => [name, args[name as keyof PreprocessingArguments]])),
  }
}
