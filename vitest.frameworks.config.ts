import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

/** `npm run test:frameworks`: comparisons with the frameworks themselves, which `npm run setup:reference` installs. */
export default defineConfig({
  test: {
    include: ['test/**/*.frameworks.test.ts'],
    pool: 'forks',
    maxWorkers: Math.min(2, availableParallelism()), // each takes some gigabytes, and to import a framework one core
    testTimeout: 240_000,
  },
})
