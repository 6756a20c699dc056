// Sharded safetensors: tensors in several files, with an index of which is where.
import { ResidualError } from '../../../errors.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { invalidCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import { openCheckpointFile } from '../../checkpoint/checkpoint-file.ts'
import type { StoredTensor } from '../../checkpoint/stored-tensor.ts'
import { tensorNotFound } from '../../source.ts'
import type { QuantizedTensor } from '../../tensors/quantized-tensor.ts'
import { siblingFile } from '../sibling-file.ts'
import { maxHeaderBytes, type TensorInfo } from './header.ts'
import { openSafetensors, type Safetensors } from './open-safetensors.ts'
import { scanHeader } from './scan.ts'

const format = 'safetensors (sharded)'

/** All are open at once. ResNets have few: a shard is 5 GB unless smaller ones were requested. */
export const maxShards = 64

/**
 * Opens all files that a `*.safetensors.index.json` names. Close the result after use.
 *
 * @throws ResidualError FILE_NOT_FOUND, also if a shard is missing, CHECKPOINT_INVALID
 */
export async function openShardedSafetensors(path: string): Promise<Checkpoint> {
  const { metadata, shardOf } = await readIndex(path)
  const shards = new Map<string, Safetensors>()
  try {
    for (const name of new Set(shardOf.values()))
      shards.set(name, await openSafetensors(siblingFile({ path, format }, name)))
    return new ShardedSafetensors(path, metadata, shards, tensorsOf(path, shardOf, shards))
  } catch (error) {
    await Promise.all([...shards.values()].map(shard => shard.close()))
    throw error
  }
}

interface Index {
  readonly metadata: ReadonlyMap<string, string>
  readonly shardOf: ReadonlyMap<string, string>
}

async function readIndex(path: string): Promise<Index> {
  const file = await openCheckpointFile(path, format)
  const fail = (problem: string, cause?: unknown) => invalidCheckpoint(file, problem, cause)
  try {
    if (file.size > maxHeaderBytes)
      throw fail(`its index has ${file.size} bytes, more than ${maxHeaderBytes}`)
    const bytes = new Uint8Array(file.size)
    await file.read([bytes], 0)
    let json: unknown
    try {
      const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
      scanHeader(text, fail)
      json = JSON.parse(text)
    } catch (cause) {
      if (cause instanceof ResidualError) throw cause
      throw fail(`its index is not JSON: ${(cause as Error).message}`, cause)
    }
    const { weight_map: map, metadata = {} } = (isObject(json) ? json : {}) as Record<string, unknown>
    if (!isObject(map)) throw fail("its index has no 'weight_map'")
    const shardOf = new Map<string, string>()
    for (const [tensor, shard] of Object.entries(map)) {
      if (typeof shard !== 'string') throw fail(`its index names no file for '${tensor}'`)
      siblingFile(file, shard)
      shardOf.set(tensor, shard)
    }
    const [pickled] = [...shardOf.values()].filter(shard => shard.endsWith('.bin'))
    if (pickled !== undefined)
      throw fail(
        `its index names PyTorch files, such as ${pickled}. Load the model in Python and save it with ` +
          'save_pretrained(..., safe_serialization=True)',
      )
    const count = new Set(shardOf.values()).size
    if (count > maxShards) throw fail(`its index names ${count} files, more than ${maxShards}`)
    const said = isObject(metadata) ? Object.entries(metadata) : []
    return { shardOf, metadata: new Map(said.map(([key, value]) => [key, String(value)])) }
  } finally {
    await file.close()
  }
}

/** Each shard must have exactly the tensors that the index lists for it, so that none occurs twice. */
function tensorsOf(
  path: string,
  shardOf: ReadonlyMap<string, string>,
  shards: ReadonlyMap<string, Safetensors>,
): ReadonlyMap<string, TensorInfo> {
  const fail = (problem: string) => invalidCheckpoint({ path, format }, problem)
  for (const [tensor, shard] of shardOf)
    if (!shards.get(shard)!.has(tensor))
      throw fail(`its index lists '${tensor}' in ${shard}, which does not have it`)
  const tensors = new Map<string, TensorInfo>()
  for (const [shard, { tensors: held }] of shards)
    for (const [tensor, info] of held) {
      const listed = shardOf.get(tensor)
      if (listed === undefined) throw fail(`${shard} has '${tensor}', which its index does not list`)
      if (listed !== shard) throw fail(`'${tensor}' is in ${shard} and in ${listed}`)
      tensors.set(tensor, info)
    }
  return tensors
}

/** Open files. Made by {@link openShardedSafetensors}. */
class ShardedSafetensors implements Checkpoint {
  readonly format = format
  readonly #shardOf: ReadonlyMap<string, Safetensors>

  constructor(
    readonly path: string,
    readonly metadata: ReadonlyMap<string, string>,
    private readonly shards: ReadonlyMap<string, Safetensors>,
    readonly tensors: ReadonlyMap<string, TensorInfo>,
  ) {
    this.#shardOf = new Map(
      [...shards.values()].flatMap(shard => [...shard.tensors.keys()].map(name => [name, shard])),
    )
  }

  async read(name: string, into?: Float32Array): Promise<Float32Array> {
    return await this.#shard(name).read(name, into)
  }

  stored(name: string): StoredTensor | undefined {
    return this.#shardOf.get(name)?.stored(name)
  }

  async readIntegers(name: string): Promise<QuantizedTensor | undefined> {
    return this.#shard(name).readIntegers(name)
  }

  async readTogether(names: readonly string[]): Promise<Float32Array[]> {
    const values = new Map<string, Float32Array>()
    for (const shard of new Set(names.map(name => this.#shard(name)))) {
      const held = names.filter(name => shard.tensors.has(name))
      for (const [i, tensor] of (await shard.readTogether(held)).entries()) values.set(held[i]!, tensor)
    }
    return names.map(name => values.get(name)!)
  }

  async checkUnchanged(): Promise<void> {
    for (const shard of this.shards.values()) await shard.checkUnchanged()
  }

  #shard(name: string): Safetensors {
    const shard = this.#shardOf.get(name)
    if (!shard) throw tensorNotFound(name, this.path)
    return shard
  }

  async close(): Promise<void> {
    await Promise.all([...this.shards.values()].map(shard => shard.close()))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
