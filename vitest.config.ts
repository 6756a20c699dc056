import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/plans/**', 'test/gpu/**', 'test/**/*.frameworks.test.ts'],
    pool: 'forks', // the addon's tests end whole processes and threads
    maxWorkers: availableParallelism(), // most of the time goes into plain loops on one thread; vitest would leave a core idle
    testTimeout: 60_000,
  },
})
