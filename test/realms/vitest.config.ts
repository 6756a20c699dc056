import { defineConfig } from 'vitest/config'

/** What test/runtime/realms.test.ts starts: tests whose globals are those of a realm of their own, as Jest's always are. */
export default defineConfig({
  test: { include: ['test/realms/*.case.ts'], pool: 'vmThreads', testTimeout: 60_000 },
})
