import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { errorCodes } from '../lib/index.ts'
import { packageRoot } from '../lib/package-root.ts'

/** Which layer may import which, beside itself. The order of ARCHITECTURE.md: everything points to the right. */
const mayImport: { readonly [layer: string]: readonly string[] } = {
  cli: [
    'server',
    'package-version',
    'bench',
    'statistics',
    'export',
    'classifier',
    'pipeline',
    'open-model',
    'save-model',
    'model-record',
    'registry',
    'image',
    'runtime',
    'weights',
    'model',
    'errors',
    'text',
  ],
  server: [
    'package-root',
    'package-version',
    'classifier',
    'greatest',
    'gate',
    'options',
    'model-record',
    'image',
    'runtime',
    'model',
    'errors',
  ],
  bench: ['package-root', 'export', 'classifier', 'runtime', 'weights', 'model', 'statistics', 'errors'],
  index: [
    'export',
    'classifier',
    'open-model',
    'save-model',
    'pipeline',
    'registry',
    'image',
    'runtime',
    'weights',
    'model',
    'errors',
  ],
  classifier: [
    'greatest',
    'options',
    'pipeline',
    'open-model',
    'image',
    'runtime',
    'weights',
    'model',
    'errors',
  ],
  pipeline: ['image', 'runtime', 'model', 'errors'],
  'open-model': ['options', 'model-record', 'registry', 'sidecars', 'image', 'weights', 'model', 'errors'],
  'save-model': ['options', 'image', 'weights', 'model', 'errors'],
  sidecars: ['image', 'model', 'errors'],
  'model-record': ['package-root', 'registry', 'sidecars', 'image', 'runtime', 'weights', 'model', 'errors'],
  registry: ['cache-folder', 'options', 'package-version', 'image', 'weights', 'model', 'errors'],
  'package-version': ['package-root', 'runtime'],
  export: ['weights', 'model', 'errors'],
  image: ['runtime', 'model', 'gate', 'options', 'errors'],
  runtime: ['cache-folder', 'options', 'gate', 'package-root', 'weights', 'model', 'statistics', 'errors'],
  weights: ['options', 'package-root', 'model', 'errors'],
  model: ['text', 'options', 'errors'],
  'package-root': [],
  statistics: [],
  greatest: [],
  gate: ['errors'],
  'cache-folder': [],
  options: ['errors'],
  errors: ['text'],
  text: [],
}

const mayInclude: { readonly [folder: string]: readonly string[] } = {
  binding: ['core', 'image'],
  image: ['core'],
  cpu: ['core'],
  cuda: ['core'],
  standin: [],
  twin: ['cuda', 'core'],
  core: [],
}

function filesIn(folder: string, pattern: RegExp): string[] {
  const files = readdirSync(join(packageRoot, folder), { recursive: true, encoding: 'utf8' })
  return files.filter(file => pattern.test(file)).map(file => normalize(file).replaceAll('\\', '/'))
}

const layerOf = (file: string) => file.split('/')[0]!.replace(/\.ts$/, '')

describe('the architecture', () => {
  it.each(filesIn('lib', /\.ts$/))('lets lib/%s import only what is below it', file => {
    const text = readFileSync(join(packageRoot, 'lib', file), 'utf8')
    for (const [, path] of text.matchAll(/(?:from |import\()'(\.[^']+)'/g)) {
      const target = join(dirname(file), path!)
      expect(existsSync(join(packageRoot, 'lib', target)), path).toBe(true)
      const [from, to] = [layerOf(file), layerOf(target)]
      if (from !== to) expect(mayImport[from], `${file} imports ${path}`).toContain(to)
    }
  })

  it.each(['index.ts', 'cli/main.ts'])('has lib/%s load nothing that only a server needs', file => {
    const packages = new Set<string>()
    const files = [file]
    for (const file of files) // grows as it goes
      for (const [, path] of readFileSync(join(packageRoot, 'lib', file), 'utf8').matchAll(
        /^(?:import|export|\}) (?!type\b).*?'([^']+)'$/gm,
      ))
        if (!path!.startsWith('.')) packages.add(path!)
        else {
          const next = join(dirname(file), path!)
          if (!files.includes(next)) files.push(next)
        }
    expect(files.length).toBeGreaterThan(20)
    expect([...packages].filter(name => /fastify|prom-client|@grpc|@opentelemetry|pino/.test(name))).toEqual(
      [],
    )
  })

  it.each(filesIn('lib/cli', /\.ts$/).filter(file => file !== 'print.ts'))(
    'has lib/cli/%s print by lib/cli/print.ts alone, which shows control characters',
    file => {
      const text = readFileSync(join(packageRoot, 'lib', 'cli', file), 'utf8')
      expect(text).not.toMatch(/console\.|std(?:out|err)\.write/)
    },
  )

  it.each(filesIn('native', /\.(cc|h|cu)$/))('lets native/%s include only what is below it', file => {
    const text = readFileSync(join(packageRoot, 'native', file), 'utf8')
    const from = layerOf(file)
    for (const [, path] of text.matchAll(/#include "([^"]+)"/g)) {
      if (layerOf(path!) !== from)
        expect(mayInclude[from], `${file} includes ${path}`).toContain(layerOf(path!))
    }
    if (from !== 'binding') expect(text).not.toMatch(/napi/i)
  })

  it('loads with nothing but Node: other packages are loaded by what needs them', () => {
    const reached = new Set(['index.ts'])
    for (const file of reached) {
      const text = readFileSync(join(packageRoot, 'lib', file), 'utf8')
      for (const [, types, from] of text.matchAll(/^(?:import|export) (type )?[^;]*?from '([^']+)'/gms)) {
        if (types) continue
        if (from!.startsWith('.')) reached.add(normalize(join(dirname(file), from!)))
        else expect(from, file).toMatch(/^node:/)
      }
    }
    expect(reached).toContain('image/decode.ts')
  })

  it('describes every error code in the docs, and no others', () => {
    const text = readFileSync(join(packageRoot, 'docs', 'errors.md'), 'utf8')
    const rows = [...text.matchAll(/^\| `(\w+)` \| (.+?) \|/gm)].map(([, code, meaning]) => [code, meaning])
    expect(Object.fromEntries(rows)).toEqual(errorCodes)
  })

  it('throws every error code somewhere', () => {
    const sources = ['lib', 'native'].flatMap(folder =>
      filesIn(folder, /\.(ts|cc|h)$/).map(file => readFileSync(join(packageRoot, folder, file), 'utf8')),
    )
    for (const code of Object.keys(errorCodes)) {
      const uses = sources.filter(text => text.includes(`'${code}'`) || text.includes(`"${code}"`))
      expect(uses.length, code).toBeGreaterThan(0)
    }
  })
})
