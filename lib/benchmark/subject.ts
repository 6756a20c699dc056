// The files that the engines read: the checkpoint itself or a written one, and the same network as ONNX.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { networkToOnnx } from '../export/onnx.ts'
import type { Network } from '../model/graph.ts'
import { parametersOf } from '../model/parameters.ts'
import { inputShape, type Plan } from '../model/plan.ts'
import { writeSafetensors } from '../weights/formats/safetensors/write.ts'
import type { WeightSource } from '../weights/source.ts'
import type { Images, Subject } from './engine.ts'

export interface SubjectParts {
  readonly network: Network
  readonly plan: Plan
  readonly weights: WeightSource
  /** The checkpoint's file; null if the weights are not in a file. */
  readonly path: string | null
}

/** `folder` receives the files that do not exist yet. */
export async function makeSubject(name: string, parts: SubjectParts, folder: string): Promise<Subject> {
  const { network, plan, weights, path } = parts
  const safetensors = written(join(folder, `${name}.safetensors`), async file => {
    const tensors = parametersOf(network).map(async ({ name, shape }) => ({
      name,
      shape,
      data: await weights.read(name),
    }))
    await writeSafetensors(file, await Promise.all(tensors))
  })
  const onnx = written(join(folder, `${name}.onnx`), async file =>
    writeFile(file, await networkToOnnx(network, weights, inputShape(plan))),
  )
  return { name, network, plan, weights, checkpoint: path ?? (await safetensors()), safetensors, onnx }
}

/** A file that is written on first use. */
function written(file: string, write: (file: string) => Promise<void>): () => Promise<string> {
  let done: Promise<string> | undefined
  return () => {
    done ??= write(file).then(() => file)
    return done
  }
}

/** Normalised images for a plan: sine waves, so that all values differ. */
export function imagesFor(plan: Plan, batch: number): Images {
  const { height, width, channels } = inputShape(plan)
  const dims = [batch, height, width, channels] as const
  const data = Float32Array.from({ length: batch * height * width * channels }, (_, i) => Math.sin(i * 0.37))
  return { data, dims }
}
