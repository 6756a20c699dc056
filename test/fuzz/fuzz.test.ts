import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { fuzz } from './harness.ts'
import { endHdf5, hdf5Target } from './hdf5-target.ts'
import { targets } from './targets.ts'

/** In `npm test` a few; `npm run test:fuzz` sets more, and a seed other than 1 tries other files. */
const files = Number(process.env.RESIDUAL_FUZZ_FILES ?? 2000)
const seed = Number(process.env.RESIDUAL_FUZZ_SEED ?? 1)

// A damaged HDF5 file may cost its reader's thread, and most of a second: 100,000 of them take five minutes and a quiet machine.
const withHdf5 = process.env.RESIDUAL_FUZZ_HDF5 !== undefined
if (!withHdf5) console.warn('skipped: damaged HDF5 files; RESIDUAL_FUZZ_HDF5=1 adds them')
afterAll(endHdf5)

describe(`Of ${files} damaged files`, () => {
  it.each(withHdf5 ? [...targets, hdf5Target] : targets)(
    '$name takes every one or refuses it with a code',
    { timeout: 1_800_000 },
    async target => {
      const { failures, accepted, worstMs, worstBytes } = await fuzz(target, files, seed)
      for (const { file, bytes } of failures)
        writeFileSync(join(tmpdir(), `residual-fuzz-${target.name.replaceAll(' ', '-')}-${file}`), bytes)
      console.log(
        `${target.name}: ${files} files, ${accepted} accepted, at most ${worstMs.toFixed(1)} ms and ${worstBytes} bytes each`,
      )
      expect(failures.map(({ file, problem }) => `file ${file} ${problem}`)).toEqual([])
    },
  )
})
