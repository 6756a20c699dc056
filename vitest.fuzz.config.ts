import { defineConfig } from 'vitest/config'

/**
 * `npm run test:fuzz`: 100,000 damaged files for each reader, 50,000 plans for the addon, 3,000 networks for each instruction set.
 * RESIDUAL_FUZZ_FILES, RESIDUAL_FUZZ_PLANS, RESIDUAL_FUZZ_NETWORKS and RESIDUAL_FUZZ_SEED set others.
 */
export default defineConfig({
  test: {
    include: ['test/fuzz/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 60_000, // of the fuzzer's own tests; those of readers have their own
    execArgv: ['--max-old-space-size=256'], // what is not counted as a typed array has to fit in here
    env: {
      RESIDUAL_FUZZ_FILES: process.env.RESIDUAL_FUZZ_FILES ?? '100000',
      RESIDUAL_FUZZ_PLANS: process.env.RESIDUAL_FUZZ_PLANS ?? '50000',
      RESIDUAL_FUZZ_NETWORKS: process.env.RESIDUAL_FUZZ_NETWORKS ?? '3000',
    },
  },
})
