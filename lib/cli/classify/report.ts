// What `residual classify` prints: a table for people, or JSON.

import { jsonText, visible } from '../../base/text.ts'
import type { Prediction } from '../../classifier.ts'
import { ResidualError } from '../../errors.ts'
import type { Activation } from '../../model/activation.ts'
import { errorLine } from '../terminal/errors.ts'
import { say, warn, write } from '../terminal/print.ts'

export interface Report {
  success(name: string, predictions: readonly Prediction[], ms: number, cam: string | undefined): void
  failure(name: string, error: Error): void
  /** Prints the rest. `stopped`: not all images were processed. Returns whether any failed. */
  end(stopped: boolean): boolean
}

/** A probability in per cent, or a logit as a plain number. */
export const amount = (probability: number, activation: Activation): string =>
  activation === 'none' ? probability.toPrecision(4) : `${(100 * probability).toFixed(1)} %`

const widest = 60 // column width of names: a longer one only shifts its own row

/**
 * A table with a heading, unless nothing was classified.
 *
 * @param asked what was requested, for the heading
 * @param held on a terminal with a progress bar, lines wait until it ends
 */
export function tableReport(
  names: Iterable<string>,
  asked: string,
  activation: Activation,
  held: boolean,
): Report {
  const waiting: string[] = []
  const print = (line: string) => (held ? waiting.push(line) : say(line))
  let count = 0
  let nameWidth = 4
  for (const name of names) {
    count++
    nameWidth = Math.max(nameWidth, Math.min(visible(name).length, widest))
  }
  let successes = 0
  let failures = 0
  return {
    success(name, predictions, ms, cam) {
      if (successes++ === 0) print(`${'file'.padEnd(nameWidth)}        ms  ${asked}`)
      const classes = predictions.map(({ label, probability }) =>
        `${visible(label)} ${amount(probability, activation)}`.padEnd(20),
      )
      if (classes.length === 0) classes.push('none')
      const file = visible(name).padEnd(nameWidth)
      print(`${file}  ${ms.toFixed(1).padStart(8)}  ${classes.join('  ')}`.trimEnd())
      if (cam) print(`${' '.repeat(nameWidth)}            map: ${visible(cam)}`)
    },
    failure(name, error) {
      failures++
      const line = errorLine(error, name)
      held ? waiting.push(line) : warn(line)
    },
    end(stopped) {
      for (const line of waiting.splice(0)) say(line)
      if (stopped) warn(`residual: stopped after ${successes + failures} of ${count} images`)
      if (failures > 0) warn(`residual: ${failures} of ${successes + failures} could not be classified`)
      return failures > 0
    },
  }
}

/** A JSON array with one element per line, so that it can be read while it is being written. */
export function jsonReport(activation: Activation): Report {
  let separator = '[\n'
  let done = 0
  let failures = 0
  const print = (element: object) => {
    write(separator + jsonText(element))
    separator = ',\n'
    done++
  }
  return {
    success: (file, predictions, ms, cam) =>
      print({ file, predictions, activation, ms: Number(ms.toFixed(3)), ...(cam && { cam }) }),
    failure(file, error) {
      failures++
      print({
        file,
        error: { code: error instanceof ResidualError ? error.code : error.name, message: error.message },
      })
      warn(errorLine(error, file))
    },
    end(stopped) {
      write(separator === '[\n' ? '[]\n' : '\n]\n')
      if (stopped) warn(`residual: stopped after ${done} images`)
      return failures > 0
    },
  }
}
