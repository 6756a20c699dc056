// Opening ONNX files that hold a ResNet: tensors are found by the graph's structure and given torchvision's names.
import { activationKey, architectureKey, type Checkpoint } from '../../checkpoint/checkpoint.ts'
import { type ByteSource, openCheckpointFile } from '../../checkpoint/checkpoint-file.ts'
import type { StoredTensor } from '../../checkpoint/stored-tensor.ts'
import { tensorNotFound } from '../../source.ts'
import type { QuantizedTensor } from '../../tensors/quantized-tensor.ts'
import { OnnxGraph } from './graph.ts'
import { parseModel } from './model.ts'
import { type NamedTensor, namedTensors } from './named-tensors.ts'
import { isQuantized, quantizedContents } from './quantized-contents.ts'
import { structureOf } from './structure.ts'
import type { ExternalFiles } from './tensor.ts'
import { Wire } from './wire.ts'

const format = 'ONNX'

const mostVersion = 32 // of the format; there are 12 so far
const secondFields = [0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72] // tags of ModelProto that may follow

/** Whether a file that begins with `bytes` may be ONNX: such files have no signature, but usually begin with the version. */
export function looksLikeOnnx(bytes: Uint8Array): boolean {
  const [tag, version, next] = bytes
  return (
    tag === 0x08 &&
    version !== undefined &&
    version > 0 &&
    version <= mostVersion &&
    secondFields.includes(next ?? -1)
  )
}

/**
 * Opens an ONNX file, and the external files with its tensors. The checkpoint has the tensors of a ResNet under
 * torchvision's names, whatever the file calls them; where batch norms were folded into convolutions, it has ones that only add
 * the bias. Those of a quantized graph have the names and types of a quantized checkpoint. `metadata` has the epsilon of the batch
 * norms, for bottlenecks the stride `v1` or `v1.5`, and whether shortcuts have average pools ({@link architectureKey}). Close it
 * after use.
 *
 * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID, also for graphs that are not a ResNet, saying why
 */
export async function openOnnx(path: string): Promise<Checkpoint> {
  const { default: protobuf } = await import('protobufjs/minimal.js')
  const file = await openCheckpointFile(path, format)
  const externals: ExternalFiles = new Map()
  const files = () => [file, ...externals.values()]
  try {
    const wire = new Wire(file, bytes => protobuf.Reader.create(bytes))
    const model = await parseModel(wire, externals)
    const graph = new OnnxGraph(path, model)
    const [input, ...others] = model.inputs.filter(({ name }) => !model.tensors.has(name))
    if (!input || others.length > 0)
      throw graph.refused(`it has ${others.length + (input ? 1 : 0)} inputs, not one`)
    const structure = structureOf(graph, input)
    const { stride, activation, averagedShortcut } = structure
    const { tensors, epsilon, said } = isQuantized(structure)
      ? quantizedContents(structure, wire)
      : { ...namedTensors(graph, structure, wire), said: [] }
    const architecture = JSON.stringify({
      epsilon,
      ...(stride && { stride }),
      ...(averagedShortcut && { averagedShortcut }),
    })
    const metadata = new Map([...model.metadata, ...said, [architectureKey, architecture]])
    if (activation !== undefined) metadata.set(activationKey, activation)
    return new OnnxCheckpoint(path, metadata, tensors, files())
  } catch (error) {
    await closeAll(files())
    throw error
  }
}

async function closeAll(files: readonly ByteSource[]): Promise<void> {
  await Promise.all(files.map(file => file.close()))
}

/** Open files. Made by {@link openOnnx}. */
class OnnxCheckpoint implements Checkpoint {
  readonly format = format

  constructor(
    readonly path: string,
    readonly metadata: ReadonlyMap<string, string>,
    readonly tensors: ReadonlyMap<string, NamedTensor>,
    private readonly files: readonly ByteSource[],
  ) {}

  async read(name: string, into?: Float32Array): Promise<Float32Array> {
    const tensor = this.tensors.get(name)
    if (!tensor) throw tensorNotFound(name, this.path)
    return await tensor.load(into)
  }

  async readIntegers(name: string): Promise<QuantizedTensor | undefined> {
    const tensor = this.tensors.get(name)
    if (!tensor) throw tensorNotFound(name, this.path)
    return await tensor.integers?.()
  }

  stored(name: string): StoredTensor | undefined {
    return this.tensors.get(name)?.stored
  }

  async checkUnchanged(): Promise<void> {
    for (const file of this.files) await file.checkUnchanged()
  }

  close(): Promise<void> {
    return closeAll(this.files)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
