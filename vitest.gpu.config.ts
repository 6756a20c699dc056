import { defineConfig } from 'vitest/config'

/** `npm run test:gpu`: what only a real GPU can show. */
export default defineConfig({
  test: { include: ['test/gpu/**/*.test.ts'], pool: 'forks', testTimeout: 600_000, fileParallelism: false },
})
