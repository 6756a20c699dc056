// Parsers of numbers on the command line.
import { InvalidArgumentError } from 'commander'

/** Separated by commas. */
export function positives(text: string): number[] {
  return text.split(',').map(positive)
}

export function positive(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('Expected a whole number above 0.')
  return value
}

/** Fractions allowed. */
export function positiveSeconds(text: string): number {
  const value = Number(text)
  if (!(value > 0 && value < 1e6)) throw new InvalidArgumentError('Expected a number of seconds above 0.')
  return value
}

/** 0 or more. */
export function index(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0 || text.trim() === '')
    throw new InvalidArgumentError('Expected a whole number of 0 or more.')
  return value
}

/** Fractions allowed. */
export function positiveNumber(text: string): number {
  const value = Number(text)
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError('Expected a number above 0.')
  return value
}

/** Any number. */
export function real(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (!Number.isFinite(value)) throw new InvalidArgumentError('Expected a number.')
  return value
}

export function fraction(text: string): number {
  const value = Number(text)
  if (!(value > 0 && value <= 1)) throw new InvalidArgumentError('Expected a number above 0, up to 1.')
  return value
}

/** One for each channel, separated by commas. */
export function triple(text: string): number[] {
  const values = text.split(',').map(part => (part.trim() === '' ? Number.NaN : Number(part)))
  if (values.length !== 3 || !values.every(Number.isFinite))
    throw new InvalidArgumentError('Expected three numbers, such as 0.485,0.456,0.406.')
  return values
}
