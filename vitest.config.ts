import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/plans/**', 'test/gpu/**'],
    pool: 'forks', // the addon's tests end whole processes and threads
    testTimeout: 60_000,
  },
})
