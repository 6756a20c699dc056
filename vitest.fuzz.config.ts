import { defineConfig } from 'vitest/config'

/** `npm run test:fuzz`: 100,000 damaged files for each reader. RESIDUAL_FUZZ_FILES and RESIDUAL_FUZZ_SEED set others. */
export default defineConfig({
  test: {
    include: ['test/fuzz/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 60_000, // of the fuzzer's own tests; those of readers have their own
    execArgv: ['--max-old-space-size=256'], // what is not counted as a typed array has to fit in here
    env: { RESIDUAL_FUZZ_FILES: process.env.RESIDUAL_FUZZ_FILES ?? '100000' },
  },
})
