// Runs everything that depends on cuDNN with several versions of it: those in scripts/cuda/wheels.mjs, or those given ('pinned'
// is the one downloaded by default); all suites, or those given. Each version has its own folder next to .deps/cuda and its own
// plan cache.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { builtLibraries } from './cuda/built-libraries.mjs'
import { fetchWheels, missingWheels } from './cuda/fetch.mjs'
import { cudnnVersions, cudnn as pinned } from './cuda/wheels.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const ofDiscovery = ['libraries', 'cudnn-version'].map(name => `test/cuda/${name}.test.ts`)
const suites = {
  discovery: ofDiscovery,
  // With an empty plan cache, a test compiles for minutes.
  twin: ['test/cuda', '--testTimeout=600000', ...ofDiscovery.flatMap(file => ['--exclude', file])],
  plans: ['--config', 'vitest.plans.config.ts'],
}

const given = process.argv.slice(2)
const chosenSuites = given.filter(text => Object.hasOwn(suites, text))
const chosen = given
  .filter(text => !Object.hasOwn(suites, text))
  .map(text => (text === 'pinned' ? pinned.version : text))
const unknown = chosen.find(version => !cudnnVersions.some(wheel => wheel.version === version))
if (unknown) {
  const known = cudnnVersions.map(({ version }) => version).join(', ')
  const names = Object.keys(suites).join(', ')
  console.error(
    `residual: unknown argument '${unknown}'. Versions: pinned, ${known} (scripts/cuda/wheels.mjs); suites: ${names}`,
  )
  process.exit(1)
}
const wheels = cudnnVersions.filter(({ version }) => chosen.length === 0 || chosen.includes(version))
const { depsFolder } = await builtLibraries()
const rows = []
const results = mkdtempSync(join(tmpdir(), 'residual-cudnn-'))
try {
  for (const wheel of wheels) {
    const folder = provide(wheel)
    for (const suite of chosenSuites.length > 0 ? chosenSuites : Object.keys(suites))
      rows.push(run(wheel, folder, suite))
  }
} catch (error) {
  console.error(`residual: ${error.message}`)
  process.exitCode = 1
} finally {
  rmSync(results, { recursive: true })
}
console.log(
  '\n| cuDNN | suite | passed | failed | skipped | seconds |\n| --- | --- | --- | --- | --- | --- |',
)
for (const { version, suite, passed, failed, skipped, seconds } of rows)
  console.log(`| ${version} | ${suite} | ${passed} | ${failed} | ${skipped} | ${seconds} |`)
if (rows.some(({ isGood }) => !isGood)) process.exitCode = 1

/** The folder with the unpacked wheel. */
function provide(wheel) {
  if (missingWheels(depsFolder, [wheel]).length === 0) return depsFolder
  const folder = join(dirname(depsFolder), 'cudnn', wheel.version)
  if (missingWheels(folder, [wheel]).length > 0)
    console.log(`residual: downloading cuDNN ${wheel.version} ...`)
  fetchWheels(folder, [wheel])
  return folder
}

function run({ version }, folder, suite) {
  console.log(`\nresidual: cuDNN ${version}: ${suite}`)
  const cache = version === pinned.version ? 'test-plans' : `test-plans-${version}`
  const report = join(results, `${version}-${suite}.json`)
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const begin = Date.now()
  const { status } = spawnSync(process.execPath, [vitest, 'run', ...suites[suite], ...reporters], {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      CUDNN_ROOT: join(folder, 'nvidia', 'cudnn'),
      RESIDUAL_EXPECT_CUDNN: version.split('.').slice(0, 3).join('.'),
      RESIDUAL_TWIN_CACHE: join(root, 'build-cuda', cache),
      RESIDUAL_CUDA_TESTS: 'required',
    },
  })
  const seconds = Math.round((Date.now() - begin) / 1000)
  const { numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped } = read(report)
  return { version, suite, passed, failed, skipped, seconds, isGood: status === 0 && passed > 0 }
}

/** What vitest reports; nothing if it ended before it did. */
function read(report) {
  try {
    return JSON.parse(readFileSync(report, 'utf8'))
  } catch {
    return { numPassedTests: 0, numFailedTests: 'all', numPendingTests: 0 }
  }
}
