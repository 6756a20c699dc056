// Presents a fuzz target to vitest: one test per target; files that fail are kept.
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type FuzzTarget, fuzz } from './harness.ts'

const seed = Number(process.env.RESIDUAL_FUZZ_SEED ?? 1)

/** In `npm test` a few, `usually`; `npm run test:fuzz` sets more, and a seed other than 1 tries other files. */
export function describeTargets(targets: readonly FuzzTarget[], usually: number): void {
  const files = Number(process.env.RESIDUAL_FUZZ_FILES ?? usually)
  describe(`Of ${files} damaged files`, () => {
    it.each(targets)(
      '$name takes every one or refuses it with a code',
      { timeout: 1_800_000 },
      async target => {
        const { failures, accepted, worstMs, worstBytes } = await fuzz(target, files, seed)
        for (const { file, bytes } of failures)
          writeFileSync(join(tmpdir(), `residual-fuzz-${target.name.replaceAll(/\W/g, '-')}-${file}`), bytes)
        console.log(
          `${target.name}: ${files} files, ${accepted} accepted, at most ${worstMs.toFixed(1)} ms and ${worstBytes} bytes each`,
        )
        expect(failures.map(({ file, problem }) => `file ${file} ${problem}`)).toEqual([])
      },
    )
  })
}
