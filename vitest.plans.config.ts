import { defineConfig } from 'vitest/config'

/** `npm run test:plans`: real cuDNN compiles every convolution for GPUs that are not there. */
export default defineConfig({
  test: { include: ['test/plans/**/*.test.ts'], pool: 'forks', testTimeout: 600_000 },
})
