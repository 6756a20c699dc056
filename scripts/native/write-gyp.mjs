// Writes binding.gyp, by which node-gyp and @electron/rebuild build the CPU's addon, from native/build.json. With the argument
// `--check` it only says whether that is what the file has.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cpuSources, defines, flags, flagsByFile, root } from './build-list.mjs'

const path = join(root, 'binding.gyp')
const architectures = ['x64', 'arm64']

// gyp has no flags for a file, so files with flags of their own are libraries, one for each set of flags.
const conditions = []
const perFile = architectures.map(arch => [arch, flagsByFile(arch)])
const plain = cpuSources.filter(file => perFile.every(([, all]) => all.get(file).length === 0))
for (const [arch, all] of perFile) {
  const groups = new Map()
  for (const [file, own] of all)
    if (!plain.includes(file)) {
      const key = own.join(' ')
      if (!groups.has(key)) groups.set(key, { own, files: [] })
      groups.get(key).files.push(file)
    }
  const libraries = [...groups.values()].map(({ own, files }, i) => ({
    target_name: `residual-cpu-${i + 1}`,
    type: 'static_library',
    sources: files,
    cflags_cc: own,
    xcode_settings: { OTHER_CPLUSPLUSFLAGS: own },
  }))
  const addon = { dependencies: libraries.map(({ target_name }) => target_name) }
  conditions.push({ arch, libraries, addon })
}

const gyp = {
  target_defaults: {
    defines,
    include_dirs: ['native', `<!(node -p "require('node-addon-api').include_dir")`],
    'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20'],
    'cflags!': ['-fno-exceptions', '-fno-omit-frame-pointer'],
    cflags_cc: ['-std=c++17', '-O3', '-fvisibility=hidden', ...flags],
    xcode_settings: {
      GCC_ENABLE_CPP_EXCEPTIONS: 'YES',
      CLANG_CXX_LANGUAGE_STANDARD: 'c++17',
      GCC_OPTIMIZATION_LEVEL: '3',
      GCC_SYMBOLS_PRIVATE_EXTERN: 'YES',
    },
  },
  targets: [
    {
      target_name: 'residual-cpu',
      sources: plain,
      conditions: conditions.map(({ arch, addon }) => [`target_arch=='${arch}'`, addon]),
    },
  ],
  conditions: conditions.map(({ arch, libraries }) => [`target_arch=='${arch}'`, { targets: libraries }]),
}

const text = `# Written by scripts/native/write-gyp.mjs.\n${JSON.stringify(gyp, null, 2)}\n`
if (!process.argv.includes('--check')) writeFileSync(path, text)
else if (readFileSync(path, 'utf8') !== text) {
  console.error(
    'residual: binding.gyp is not what native/build.json asks for; run `node scripts/native/write-gyp.mjs`',
  )
  process.exit(1)
}
