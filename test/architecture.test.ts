import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../lib/base/package-root.ts'
import { errorCodes } from '../lib/index.ts'

/**
 * Which layer imports which, beside itself: the order of ARCHITECTURE.md. Everything points to the right, and nothing is allowed that
 * nobody uses. A layer is a folder or a file of `lib/`; `errors.ts` belongs to `base`.
 */
const imports: { readonly [layer: string]: string } = {
  cli: 'server benchmark quantize classifier pipeline open-model save-model model-record registry export image runtime weights files model base',
  server: 'classifier model-record image runtime model base',
  benchmark: 'classifier export runtime weights model base',
  index:
    'quantize classifier pipeline open-model save-model registry export image runtime weights model base',
  quantize: 'open-model save-model image runtime weights files model base',
  classifier: 'pipeline open-model image runtime model base',
  pipeline: 'image runtime model base',
  'open-model': 'model-record registry sidecars image weights files model base',
  'save-model': 'image weights files model base',
  'model-record': 'registry sidecars image weights model base',
  registry: 'image weights files model base',
  sidecars: 'image model base',
  export: 'weights model base',
  image: 'runtime model base',
  runtime: 'weights files model base',
  weights: 'files model base',
  files: 'base',
  model: 'base',
  base: '',
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

const layerOf = (file: string) => {
  const layer = file.split('/')[0]!.replace(/\.ts$/, '')
  return layer === 'errors' ? 'base' : layer
}

/** Folders whose own files are rooms of their own beside the folders in them, as the files of `lib/` are. */
const halls = ['.', 'cli', 'runtime', 'server', 'weights', 'weights/formats']

/** The folder of a file, or a hall's file itself. */
function roomOf(file: string): string {
  if (file === 'errors.ts') return 'base'
  return halls.includes(dirname(file)) ? file : dirname(file)
}

/** By file of `lib/`: the files it imports, types included. */
const imported = new Map(
  filesIn('lib', /\.ts$/).map(file => {
    const text = readFileSync(join(packageRoot, 'lib', file), 'utf8')
    const paths = [...text.matchAll(/(?:from |import\()'(\.[^']+)'/g)].map(([, path]) => path!)
    return [file, paths.map(path => normalize(join(dirname(file), path)).replaceAll('\\', '/'))] as const
  }),
)

/** The edges between groups of files. */
function edgesBetween(groupOf: (file: string) => string): Map<string, Set<string>> {
  const edges = new Map<string, Set<string>>()
  for (const [file, targets] of imported) {
    const from = edges.get(groupOf(file)) ?? new Set()
    edges.set(groupOf(file), from)
    for (const to of targets.map(groupOf)) if (to !== groupOf(file)) from.add(to)
  }
  return edges
}

/** A circle of edges, if there is one. */
function circleIn(edges: ReadonlyMap<string, ReadonlySet<string>>): string[] | undefined {
  const done = new Set<string>()
  const visit = (node: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(node)) return [...path.slice(path.indexOf(node)), node]
    if (done.has(node)) return undefined
    for (const next of edges.get(node) ?? []) {
      const circle = visit(next, [...path, node])
      if (circle) return circle
    }
    done.add(node)
    return undefined
  }
  for (const node of edges.keys()) {
    const circle = visit(node, [])
    if (circle) return circle
  }
  return undefined
}

/** The comment that a file opens with, of whatever language; empty if it opens with something else. */
function openingComment(path: string): string {
  const text = readFileSync(path, 'utf8').replace(/^#!.*\n/, '')
  const comment = /^(?:(?:\/\/|#(?!include|pragma|if|define)).*\n)+|^\/\*[\s\S]*?\*\/|^"""[\s\S]*?"""/.exec(
    text,
  )
  return comment?.[0] ?? ''
}

/** Where every file is source: all that these folders have, and the files beside them. */
const commentedFiles = [
  ...['lib', 'native', 'test', 'bench', 'scripts', 'page', 'protocol', 'deploy'].flatMap(folder =>
    filesIn(folder, /\.\w+$/).map(file => `${folder}/${file}`),
  ),
  ...readdirSync(packageRoot).filter(file => /\.config\.ts$|^Dockerfile$|^CMakeLists\.txt$/.test(file)),
  '.ci/run',
].filter(file => /\.(?:ts|m?js|py|c|cc|cu|h|S|cmake|txt|proto|yaml|css)$|Dockerfile$|run$/.test(file))

/** Headers and programs have nothing else that says what they are for: a test has its titles, a .cc its header. */
const mustOpenWithComment =
  /^(?:native\/.*\.h|(?:lib|bench|scripts|page|protocol|deploy|test\/support)\/.*|Dockerfile|\.ci\/run)$/

describe('the architecture', () => {
  it('has each layer import those below it that the table names, and all of them', () => {
    for (const [file, targets] of imported)
      for (const target of targets) expect(imported.has(target), `${file} imports ${target}`).toBe(true)
    const found = [...edgesBetween(layerOf)].map(([layer, targets]) => [layer, [...targets].sort()])
    const wanted = Object.entries(imports).map(([layer, targets]) => [
      layer,
      targets.split(' ').filter(Boolean).sort(),
    ])
    expect(Object.fromEntries(found)).toEqual(Object.fromEntries(wanted))
  })

  it('has no circle of imports, neither of files nor of rooms', () => {
    expect(circleIn(edgesBetween(file => file))).toBeUndefined()
    expect(circleIn(edgesBetween(roomOf))).toBeUndefined()
    expect(circleIn(edgesBetween(layerOf))).toBeUndefined()
    expect(
      circleIn(
        new Map([
          ['a', new Set(['b'])],
          ['b', new Set(['a'])],
        ]),
      ),
    ).toEqual(['a', 'b', 'a'])
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

  it.each(filesIn('lib/cli', /\.ts$/).filter(file => file !== 'terminal/print.ts'))(
    'has lib/cli/%s print by lib/cli/terminal/print.ts alone, which shows control characters',
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

  it.each(commentedFiles)('opens %s with its subject, not with a question', file => {
    const comment = openingComment(join(packageRoot, file))
    expect(comment).not.toContain('?')
    if (mustOpenWithComment.test(file)) expect(comment).not.toBe('')
  })

  it('reads the opening comments of all languages here', () => {
    const openings = commentedFiles.map(file => openingComment(join(packageRoot, file)))
    expect(openings.filter(Boolean).length).toBeGreaterThan(200)
    for (const extension of ['ts', 'mjs', 'py', 'c', 'cc', 'cu', 'h', 'proto', 'yaml', 'css'])
      expect(
        commentedFiles.some((file, i) => file.endsWith(`.${extension}`) && openings[i]),
        extension,
      ).toBe(true)
  })

  it('describes every error code in the docs, and no others', () => {
    const text = readFileSync(join(packageRoot, 'docs', 'errors.md'), 'utf8')
    const rows = [...text.matchAll(/^\| `(\w+)` \| (.+?) \|/gm)].map(([, code, meaning]) => [code, meaning])
    expect(Object.fromEntries(rows)).toEqual(errorCodes)
  })

  it('throws every error code somewhere', () => {
    const read = (folder: string, pattern: RegExp) =>
      filesIn(folder, pattern).map(file => readFileSync(join(packageRoot, folder, file), 'utf8'))
    const thrown = new Set([
      ...read('lib', /\.ts$/).flatMap(text =>
        [...text.matchAll(/new ResidualError\(\s*'(\w+)'/g)].map(([, code]) => code!),
      ),
      ...read('native', /\.(cc|h)$/).flatMap(text =>
        [...text.matchAll(/Error\(\s*(?:core::)?ErrorCode::k(\w+)/g)].map(([, name]) =>
          name!.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase(),
        ),
      ),
    ])
    expect([...thrown].sort()).toEqual(Object.keys(errorCodes).sort())
  })
})
