import { defineConfig } from 'vitest/config'

/** `npm run test:frameworks`: comparisons with the frameworks themselves, which `npm run setup:reference` installs. */
export default defineConfig({
  test: {
    include: ['test/**/*.frameworks.test.ts'],
    pool: 'forks',
    fileParallelism: false, // frameworks take both cores, and some gigabytes
    testTimeout: 240_000,
  },
})
