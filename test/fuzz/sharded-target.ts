// Fuzzes the reader of sharded safetensors. The index and the shards are damaged as one text.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openShardedSafetensors } from '../../lib/weights/formats/safetensors/sharded.ts'
import { safetensors } from '../support/files.ts'
import type { FuzzTarget } from './harness.ts'

const folder = join(tmpdir(), `residual-fuzz-${process.pid}-shards`)
const names = ['model.safetensors.index.json', 'a.safetensors', 'b.safetensors'] as const
const between = '<>' // of the files: a shard whose beginning is damaged away is not there

/** A target of the fuzzer. */
export const shardedTarget: FuzzTarget = {
  name: 'safetensors in several files',
  seeds: async () => {
    const tensor = (name: string, bytes: number) =>
      safetensors(
        { [name]: { dtype: 'F32', shape: [bytes / 4], data_offsets: [0, bytes] } },
        Array(bytes).fill(1),
      )
    const index = { metadata: { total_size: 24 }, weight_map: { x: 'a.safetensors', y: 'b.safetensors' } }
    return [
      Buffer.concat([
        Buffer.from(JSON.stringify(index) + between),
        tensor('x', 16),
        Buffer.from(between),
        tensor('y', 8),
      ]),
    ]
  },
  open: async bytes => {
    mkdirSync(folder)
    try {
      const parts = bytes.toString('latin1').split(between).slice(0, names.length)
      for (const [i, part] of parts.entries()) writeFileSync(join(folder, names[i]!), part, 'latin1')
      await using checkpoint = await openShardedSafetensors(join(folder, names[0]))
      for (const name of checkpoint.tensors.keys()) await checkpoint.read(name)
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
}
