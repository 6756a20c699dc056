// Builds dist/: declarations by the TypeScript compiler, JavaScript by esbuild, which bundles what several entries share into a
// few files. Node takes half a millisecond to find, read and compile a file, and there are over a hundred.
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** Files imported or started by their path in dist/: from package.json, bin/ or scripts/, or as a thread or process. */
const entries = [
  'index.ts',
  'server/index.ts',
  'cli/main.ts',
  'runtime/cuda/libraries.ts',
  'server/json/json-worker.ts',
  'weights/formats/hdf5/thread.ts',
  'benchmark/start-child.ts',
]

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const dist = join(root, 'dist')
rmSync(dist, { recursive: true, force: true })

const require = createRequire(import.meta.url)
const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc')
const { status } = spawnSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json')], {
  stdio: 'inherit',
})
if (status !== 0) process.exit(1)

// TypeScript before 5.7 has typed arrays without a parameter: what it says is written so that every version understands it.
for (const name of readdirSync(dist, { recursive: true })) {
  const path = join(dist, name)
  if (!path.endsWith('.d.ts')) continue
  const text = readFileSync(path, 'utf8')
  const plain = text.replace(/\b(\w+Array)<ArrayBuffer>/g, '($1 & { readonly buffer: ArrayBuffer })')
  if (plain !== text) writeFileSync(path, plain)
}

await build({
  entryPoints: entries.map(entry => join(root, 'lib', entry)),
  outbase: join(root, 'lib'),
  outdir: dist,
  chunkNames: 'shared/[name]-[hash]',
  bundle: true,
  splitting: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'warning',
})
