// The programs in examples/: each runs as its first comment says, against the package by its name, and prints what it promises.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { temporaryFolder } from './support/files.ts'

const run = promisify(execFile)
const packageRoot = join(import.meta.dirname, '..')

async function printed(args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run(process.execPath, args, { cwd: packageRoot })
  expect(stderr).toBe('')
  return stdout
}

const example = (name: string, ...args: string[]) => printed([join('examples', name), ...args])

/** Every test here, by the file it runs; the last test compares them with the folder. */
const tested = new Set<string>()
const runs = (name: string, test: () => Promise<void>) => {
  tested.add(name)
  it(`${name} runs`, test)
}

describe('examples', () => {
  runs('classify.mjs', async () => {
    expect(await example('classify.mjs')).toMatch(
      /^samples\/ship\.jpg: ship 92\.\d %, .+\nsamples\/frog\.jpg: frog 82\.\d %, .+\n$/,
    )
  })

  runs('neighbours.mjs', async () => {
    const lines = (await example('neighbours.mjs')).trimEnd().split('\n')
    expect(lines).toHaveLength(6)
    expect(lines).toContainEqual(
      expect.stringMatching(/automobile\.jpg: nearest is samples\/truck\.jpg \(0\.3\d+\)$/),
    )
    const twice = await example('neighbours.mjs', 'samples/deer.jpg', 'samples/ship.jpg', 'samples/deer.jpg')
    expect(twice).toMatch(/^samples\/deer\.jpg: nearest is samples\/deer\.jpg \(1\.000\)$/m)
  })

  runs('own-network.mjs', async () => {
    const text = await example('own-network.mjs')
    expect(text).toMatch(/^10538 trainable parameters$/m)
    expect(text).toMatch(/^logits \[2,10\]: 20 numbers$/m)
    expect(text).toMatch(/^conv1 .* bn \+ \S+ relu /m) // the residual sum is fused
  })

  runs('fastify-route.mjs', async () => {
    const child = spawn(process.execPath, ['examples/fastify-route.mjs'], {
      cwd: packageRoot,
      env: { ...process.env, PORT: '0' },
    })
    try {
      const [line] = await once(createInterface(child.stdout), 'line')
      const [, url] = /^listening on (http:\S+)$/.exec(line)!
      const post = async (body: Uint8Array<ArrayBuffer>) => {
        const headers = { 'content-type': 'image/jpeg' }
        const response = await fetch(`${url}/classify`, { method: 'POST', headers, body })
        return { status: response.status, ...((await response.json()) as Record<string, unknown>) }
      }
      const ship = new Uint8Array(readFileSync(join(packageRoot, 'samples', 'ship.jpg')))
      const answers = await Promise.all([post(ship), post(ship), post(new TextEncoder().encode('no image'))])
      expect(answers).toMatchObject([
        { status: 200, predictions: [{ label: 'ship' }, {}, {}] },
        { status: 200, predictions: [{ label: 'ship' }, {}, {}] },
        { status: 415, code: 'DECODE_FAILED' },
      ])
      expect(answers[0]).toEqual(answers[1])
    } finally {
      child.kill('SIGTERM')
    }
    expect(await once(child, 'exit')).toEqual([0, null])
  })

  runs('worker-thread.mjs', async () => {
    expect(await example('worker-thread.mjs')).toBe('samples/deer.jpg: deer\nsamples/truck.jpg: truck\n')
  })

  runs('electron/main.mjs', async () => {
    const text = await printed([
      '--import',
      './test/support/electron-stand-in.mjs',
      'examples/electron/main.mjs',
    ])
    expect(text).toBe('ship, DECODE_FAILED, Expected the bytes of an image\nquit\n')
  })

  runs('queue-worker.mjs', async () => {
    expect(await example('queue-worker.mjs')).toBe(
      'samples/ship.jpg: ship\nsamples/missing.jpg: FILE_NOT_FOUND\nsamples/truck.jpg: truck\n',
    )
  })

  runs('custom-checkpoint.mjs', async () => {
    const out = join(temporaryFolder(), 'mine.safetensors')
    expect(await example('custom-checkpoint.mjs', out)).toBe(
      'ResNet-18, 3 classes, names of torchvision\nclasses: cat, dog, neither\n',
    )
    const record = JSON.parse(readFileSync(out.replace('safetensors', 'json'), 'utf8'))
    expect(record).toMatchObject({
      labels: ['cat', 'dog', 'neither'],
      preprocessing: { mean: [0.5, 0.5, 0.5] },
    })
  })

  runs('activation-map.mjs', async () => {
    const out = join(temporaryFolder(), 'map.png')
    expect(await example('activation-map.mjs', 'samples/deer.jpg', out)).toBe(
      `samples/deer.jpg: deer, its map 2x2 in ${out}\n`,
    )
    const before = await sharp(join(packageRoot, 'samples', 'deer.jpg'))
      .raw()
      .toBuffer()
    const after = await sharp(out).removeAlpha().raw().toBuffer()
    expect(after.length).toBe(before.length)
    expect(after.equals(before)).toBe(false)
  })

  runs('benchmark.mjs', async () => {
    const text = await example('benchmark.mjs', 'resnet50-cifar10', '2')
    expect(text).toMatch(
      /^resnet50-cifar10, batch 2: [\d.]+ ms, \d+ images\/s, \d+ GFLOP\/s\n( +[\d.]+ ms +\w+ \S+\n){3}$/,
    )
  })

  runs('folder-to-ndjson.mjs', async () => {
    const lines = (await example('folder-to-ndjson.mjs', 'samples'))
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    const labels = Object.fromEntries(lines.map(({ image, label }) => [image.replaceAll('\\', '/'), label]))
    const names = readdirSync(join(packageRoot, 'samples'))
    expect(labels).toEqual(
      Object.fromEntries(names.map(name => [`samples/${name}`, name.replace('.jpg', '')])),
    )
  })

  runs('serverless.mjs', async () => {
    expect(await example('serverless.mjs')).toBe('200 airplane\n415 DECODE_FAILED\n')
  })

  it('are all run here, and say in a comment on top what they show', () => {
    const entries = readdirSync(join(packageRoot, 'examples'), { withFileTypes: true })
    const programs = entries
      .filter(({ name }) => name !== 'README.md')
      .map(entry => (entry.isDirectory() ? `${entry.name}/main.mjs` : entry.name))
    expect(programs.sort()).toEqual([...tested].sort())
    for (const name of programs) {
      const text = readFileSync(join(packageRoot, 'examples', name), 'utf8')
      expect(text, name).toMatch(/^\/\/ [A-Z]/)
      expect(text, name).toMatch(/from 'residual'/)
    }
  })
})
