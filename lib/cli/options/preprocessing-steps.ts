// Preprocessing steps as text: `resize 256, crop 224x224`.
import { InvalidArgumentError } from 'commander'
import type { Step } from '../../image/preprocess.ts'

export function stepsText(steps: readonly Step[]): string {
  const extent = (size: object) => Object.values(size).join('x')
  return steps
    .map(step => ('crop' in step ? `crop ${extent(step.crop)}` : `resize ${extent(step.resize)}`))
    .join(', ')
}

const step = /^(?<kind>resize|crop) +(?<height>\d{1,9})(?:x(?<width>\d{1,9}))?$/

/** The inverse of {@link stepsText}. A single number is the shorter side for `resize`, and both sides for `crop`. */
export function parseSteps(text: string): Step[] {
  return text.split(',').map(part => {
    const { kind, height, width } = step.exec(part.trim())?.groups ?? {}
    if (kind === undefined)
      throw new InvalidArgumentError("Expected steps such as 'resize 256, crop 224x224' or 'resize 224x224'.")
    if (kind === 'resize' && width === undefined) return { resize: { shorterSide: Number(height) } }
    const size = { height: Number(height), width: Number(width ?? height) }
    return kind === 'crop' ? { crop: size } : { resize: size }
  })
}
