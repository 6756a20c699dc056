import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  initialise,
  openModel,
  type PullOptions,
  parametersOf,
  pull,
  resnet,
  saveNetwork,
} from '../../lib/index.ts'
import { findModel } from '../../lib/model-record.ts'
import { checkpoints } from '../../lib/registry/checkpoints.ts'
import { pullSource } from '../../lib/registry/pull.ts'
import { findSource } from '../../lib/registry/source.ts'
import {
  breakAfter,
  close,
  type FileServer,
  fileServer,
  hubHeaders,
  listen,
  serve,
  sha256,
  someBytes,
} from '../support/file-server.ts'

const bytes = someBytes(200_000)
const other = someBytes(200_000, 2)
const name = 'somebody/resnet'
const quick: PullOptions = { retries: 2, retryMs: 1, stallMs: 300 }
const coded = (code: string, message = '') =>
  expect.objectContaining({ name: 'ResidualError', code, message: expect.stringContaining(message) })

let folder: string
let models: string
let server: FileServer
const environment = { ...process.env }
beforeAll(async () => {
  server = await fileServer(() => bytes)
})
afterAll(() => server.close())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'residual-pull-'))
  models = join(folder, 'models')
  for (const key of Object.keys(process.env))
    if (/_proxy$|^HF_|^RESIDUAL_/i.test(key)) delete process.env[key]
  process.env.RESIDUAL_CACHE = folder
  process.env.HF_ENDPOINT = server.url
  server.requests.length = 0
  server.next.length = 0
})
afterEach(async () => {
  process.env = { ...environment }
  await rm(folder, { recursive: true })
})

const part = () => join(models, 'somebody--resnet.safetensors.part')
const ranges = () => server.requests.map(request => request.headers.range)
/** Leaves a part of 150,000 bytes as a download that was broken off would. */
async function breakOff() {
  server.next.push(breakAfter(bytes, 150_000, 'break'))
  await expect(pull(name, { ...quick, retries: 0 })).rejects.toEqual(
    coded('DOWNLOAD_FAILED', '150000 bytes are kept'),
  )
  server.requests.length = 0
}
async function expectPulled(path: string, what = bytes) {
  expect(path).toBe(join(models, 'somebody--resnet.safetensors'))
  expect((await readFile(path)).equals(what)).toBe(true)
  expect((await readdir(models)).sort()).toEqual(['somebody--resnet.json', 'somebody--resnet.safetensors'])
}

describe('pull', () => {
  it('downloads, checks, writes a record and is found by load from then on', async () => {
    const seen: number[] = []
    const path = await pull(name, {
      ...quick,
      onProgress: ({ received, total }) => seen.push(received, total!),
    })
    await expectPulled(path)
    expect(server.requests[0]!.url).toBe('/somebody/resnet/resolve/main/model.safetensors')
    expect(seen.slice(0, 2)).toEqual([0, bytes.length])
    expect(seen.slice(-2)).toEqual([bytes.length, bytes.length])
    const { origin } = JSON.parse(await readFile(join(models, 'somebody--resnet.json'), 'utf8'))
    const url = `${server.url}/somebody/resnet/resolve/main/model.safetensors`
    expect(origin).toEqual({ url, sha256: sha256(bytes), bytes: bytes.length, checkedAgainst: 'hub' })
    expect(findModel(name)).toEqual({ name, path })
  })

  it('uses what is there without asking the network', async () => {
    const path = await pull(name, quick)
    expect(await pull(name, { ...quick, offline: true })).toBe(path)
    expect(server.requests).toHaveLength(1)
  })

  it('downloads damaged files again, or says so if downloads are off', async () => {
    const path = await pull(name, quick)
    await writeFile(path, other)
    await expect(pull(name, { ...quick, offline: true })).rejects.toEqual(coded('OFFLINE', 'damaged'))
    await expectPulled(await pull(name, quick))
  })

  it.each(['HF_HUB_OFFLINE', 'RESIDUAL_OFFLINE'])('makes no requests with %s=1', async variable => {
    process.env[variable] = '1'
    await expect(pull(name, quick)).rejects.toEqual(coded('OFFLINE', 'has not been pulled'))
    expect(server.requests).toHaveLength(0)
  })

  it('accepts a revision and a file of a repository', async () => {
    const path = await pull('somebody/resnet@v1.0', { ...quick, file: 'weights/best.pth' })
    expect(path).toBe(join(models, 'somebody--resnet@v1.0--weights--best.pth'))
    expect(server.requests[0]!.url).toBe('/somebody/resnet/resolve/v1.0/weights/best.pth')
  })

  it.each(['resnet5', '../x', 'a/..', 'a/b/c', '', 'a/b@../x', 'a/b?x'])(
    'refuses the name %j',
    async wrong => {
      await expect(pull(wrong, quick)).rejects.toEqual(coded('MODEL_NOT_FOUND'))
    },
  )

  it('suggests what was meant, and how to get what load does not find', async () => {
    await expect(pull('resnet50', quick)).rejects.toEqual(coded('MODEL_NOT_FOUND', 'resnet50.tv_in1k'))
    expect(() => findModel('resnet50.tv_in1k')).toThrow('`residual pull resnet50.tv_in1k` downloads it')
  })

  it('checks its options', async () => {
    await expect(pull(name, { sha256: 'abc' })).rejects.toThrow(RangeError)
    await expect(pull(name, { retries: -1 })).rejects.toThrow(RangeError)
    await expect(pull(1 as unknown as string)).rejects.toThrow(TypeError)
  })
})

describe('what a checkpoint must be', () => {
  it('refuses wrong bytes, and keeps nothing of them', async () => {
    server.next.push(serve(other, { 'x-linked-etag': `"${sha256(bytes)}"` }))
    await expect(pull(name, quick)).rejects.toEqual(coded('CHECKSUM_MISMATCH', sha256(other)))
    expect(await readdir(models)).toEqual([])
  })

  it("refuses a file by the hub's checksum before it comes, if another was requested", async () => {
    await expect(pull(name, { ...quick, sha256: sha256(other) })).rejects.toEqual(
      coded('CHECKSUM_MISMATCH', 'Nothing was downloaded'),
    )
    await expectPulled(await pull(name, { ...quick, sha256: sha256(bytes).toUpperCase() }))
  })

  it('refuses files without a known checksum, unless the user accepts them', async () => {
    const nothing = serve(bytes, { 'x-linked-etag': undefined, etag: '"1"' })
    server.next.push(nothing, nothing)
    await expect(pull(name, quick)).rejects.toEqual(coded('DOWNLOAD_FAILED', '--sha256'))
    await expectPulled(await pull(name, { ...quick, sha256: sha256(bytes) }))
  })

  it.each([8, 64])("checks a file against the registry's %i digits", async digits => {
    const { preprocessing } = checkpoints['resnet50-11ad3fa6']!
    const checkpoint = {
      from: { url: `${server.url}/x.pth` },
      architecture: { layers: 50 },
      licence: 'MIT',
      preprocessing,
    }
    const source = { name: 'x', fileName: 'x.pth', url: `${server.url}/x.pth` }
    const pulled = (of: Buffer) =>
      pullSource({ ...source, checkpoint: { ...checkpoint, sha256: sha256(of).slice(0, digits) } }, quick)
    await expect(pulled(other)).rejects.toEqual(coded('CHECKSUM_MISMATCH'))
    const path = await pulled(bytes)
    const record = JSON.parse(await readFile(join(models, 'x.json'), 'utf8'))
    expect(record).toMatchObject({ architecture: { layers: 50 }, preprocessing, origin: { licence: 'MIT' } })
    expect(record.origin.checkedAgainst).toBe(digits === 64 ? 'registry' : 'registry (first digits)')
    await rm(join(models, 'x.json')) // it is written anew: the registry still knows the file
    server.requests.length = 0
    expect(await pulled(bytes)).toBe(path)
    expect(existsSync(join(models, 'x.json'))).toBe(true)
    expect(server.requests).toHaveLength(0)
  })
})

describe('a network that breaks', () => {
  it('resumes where the connection broke, in the same call', async () => {
    server.next.push(breakAfter(bytes, 90_000, 'break'))
    const reasons: string[] = []
    await expectPulled(await pull(name, { ...quick, onRetry: reason => reasons.push(reason) }))
    expect(reasons).toEqual([expect.stringMatching(/closed|reset|terminated/)])
    expect(ranges()).toEqual([undefined, 'bytes=90000-'])
    expect(server.requests[1]!.headers['if-range']).toBe(`"${sha256(bytes)}"`)
  })

  it('resumes in a later call', async () => {
    await breakOff()
    await expectPulled(await pull(name, quick))
    expect(ranges()).toEqual(['bytes=150000-'])
  })

  it('gives up on a silent connection', async () => {
    server.next.push(breakAfter(bytes, 90_000, 'stall'), () => {})
    await expectPulled(await pull(name, quick))
    expect(ranges()).toEqual([undefined, 'bytes=90000-', 'bytes=90000-'])
    server.next.push(() => {})
    const failing = pull('somebody/slow', { ...quick, retries: 0, stallMs: 50 })
    await expect(failing).rejects.toEqual(coded('DOWNLOAD_FAILED', 'no data for 0.05 s'))
  })

  it('is patient with a connection that is slow', async () => {
    server.next.push(async (_, response) => {
      response.writeHead(200, { ...hubHeaders(bytes), 'content-length': bytes.length })
      for (let i = 0; i < 5; i++) {
        response.write(bytes.subarray(i * 40_000, (i + 1) * 40_000))
        await delay(250)
      }
      response.end()
    })
    await expectPulled(await pull(name, { ...quick, stallMs: 1000 }))
    expect(server.requests).toHaveLength(1)
  })

  it('starts over if the file comes from somewhere else', async () => {
    await breakOff()
    const source = { name, fileName: 'somebody--resnet.safetensors', url: `${server.url}/elsewhere` }
    await expectPulled(await pullSource(source, quick))
    expect(ranges()).toEqual([undefined])
  })

  it('starts over if the file has changed in the meantime', async () => {
    await breakOff()
    server.next.push(serve(other))
    await expectPulled(await pull(name, quick), other)
  })

  it('starts over if the server ignores ranges', async () => {
    await breakOff()
    server.next.push((_, response) => response.writeHead(200, hubHeaders(bytes)).end(bytes))
    await expectPulled(await pull(name, quick))
  })

  it.each([
    ['another entity tag', { etag: '"other"' }, 'bytes 150000-199999/200000'],
    ['another beginning', {}, 'bytes 140000-199999/200000'],
    ['another length', {}, 'bytes 150000-199999/300000'],
    ['another checksum', { 'x-linked-etag': `"${sha256(other)}"` }, 'bytes 150000-199999/200000'],
    ['no range', {}, undefined],
  ])('starts over if the rest comes with %s', async (_, headers, range) => {
    await breakOff()
    server.next.push((_, response) =>
      response
        .writeHead(206, { ...hubHeaders(bytes, headers), ...(range && { 'content-range': range }) })
        .end(bytes.subarray(150_000)),
    )
    await expectPulled(await pull(name, quick))
    expect(ranges()).toEqual(['bytes=150000-', undefined])
  })

  it('treats a 416 as the end if everything is there, and starts over otherwise', async () => {
    await breakOff()
    await writeFile(part(), bytes)
    await expectPulled(await pull(name, quick))
    expect(ranges()).toEqual(['bytes=200000-'])
    await rm(models, { recursive: true })
    await breakOff()
    await writeFile(part(), Buffer.concat([bytes, bytes]))
    await expectPulled(await pull(name, quick))
    expect(ranges()).toEqual(['bytes=400000-', undefined])
  })

  it.each(['{"url":', 'null', '{"url": "x", "etag": "a\\nb"}'])(
    'continues nothing with the note %s',
    async note => {
      await breakOff()
      await writeFile(`${part()}.json`, note)
      await expectPulled(await pull(name, quick))
      expect(ranges()).toEqual([undefined])
    },
  )

  it('detects a damaged part by its checksum, and removes it', async () => {
    await breakOff()
    await writeFile(part(), other.subarray(0, 150_000))
    await expect(pull(name, quick)).rejects.toEqual(coded('CHECKSUM_MISMATCH'))
    await expectPulled(await pull(name, quick))
  })
})

describe('a server that lies', () => {
  it('is asked again if it sends less than it announced', async () => {
    server.next.push((_, response) =>
      response.writeHead(200, hubHeaders(bytes, { 'x-linked-size': '200000' })).end(bytes.subarray(0, 1000)),
    )
    await expectPulled(await pull(name, quick))
    expect(ranges()).toEqual([undefined, 'bytes=1000-'])
  })

  it('is not read beyond the length it stated', async () => {
    server.next.push((_, response) =>
      response.writeHead(200, hubHeaders(bytes, { 'x-linked-size': '1000' })).end(bytes),
    )
    await expect(pull(name, quick)).rejects.toEqual(
      coded('DOWNLOAD_FAILED', 'sent more than the expected 1000 bytes'),
    )
    expect(existsSync(part())).toBe(false)
  })

  it('is read up to its Content-Length, whatever follows', async () => {
    const head = Object.entries(hubHeaders(bytes)).map(([key, value]) => `${key}: ${value}\r\n`)
    server.next.push(({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\n${head.join('')}content-length: ${bytes.length}\r\n\r\n`)
      socket.end(Buffer.concat([bytes, other]))
    })
    await expectPulled(await pull(name, quick))
  })

  it('may compress, but only as requested, and not without end', async () => {
    const zipped = gzipSync(bytes)
    const send = (body: Buffer, headers: { [name: string]: string }) =>
      server.next.push((_, response) => response.writeHead(200, hubHeaders(bytes, headers)).end(body))
    send(zipped, { 'content-encoding': 'br' })
    await expect(pull(name, quick)).rejects.toEqual(coded('DOWNLOAD_FAILED', 'content encoding br'))
    send(gzipSync(Buffer.alloc(10_000_000)), { 'content-encoding': 'gzip', 'x-linked-size': '200000' })
    await expect(pull(name, quick)).rejects.toEqual(coded('DOWNLOAD_FAILED', 'sent more than'))
    send(zipped.subarray(0, 100_000), { 'content-encoding': 'gzip' }) // broken off: nothing to continue
    send(zipped, { 'content-encoding': 'gzip', 'content-length': `${zipped.length}` })
    await expectPulled(await pull(name, quick))
    expect(ranges().every(range => range === undefined)).toBe(true)
  })

  it.each([
    [404, undefined, 'no such file'],
    [404, 'EntryNotFound', 'has no file of that name'],
    [404, 'RevisionNotFound', 'has no such revision'],
    [404, 'RepoNotFound', 'no such repository, or it is not public'],
    [401, 'RepoNotFound', 'no such repository, or it is not public'],
    [401, undefined, 'no such repository, or it is not public'],
    [401, 'GatedRepo', 'Accept its terms'],
    [403, 'GatedRepo', 'Accept its terms'],
    [403, undefined, 'HF_TOKEN'],
    [400, undefined, '400'],
  ] as const)('is asked once where it answers %i, %s, and leaves nothing', async (status, code, message) => {
    const headers = code && { 'x-error-code': code }
    server.next.push((_, response) => response.writeHead(status, headers).end('no'))
    await expect(pull(name, quick)).rejects.toEqual(coded('DOWNLOAD_FAILED', message))
    expect(server.requests).toHaveLength(1)
    expect(await readdir(models)).toEqual([])
  })

  it('is asked again when it says so, if it is busy', async () => {
    const begin = Date.now()
    for (const [status, after] of [
      [503, '1'],
      [429, new Date(0).toUTCString()],
      [408, 'soon'],
    ] as const)
      server.next.push((_, response) => response.writeHead(status, { 'retry-after': after }).end())
    await expectPulled(await pull(name, { ...quick, retries: 3 }))
    expect(Date.now() - begin).toBeGreaterThanOrEqual(990)
    expect(server.requests).toHaveLength(4)
  })

  it('is given up on after the allowed number of tries', async () => {
    for (let i = 0; i < 3; i++) server.next.push((_, response) => response.writeHead(500).end())
    await expect(pull(name, quick)).rejects.toEqual(coded('DOWNLOAD_FAILED', 'gave up after 3 attempts'))
    expect(server.requests).toHaveLength(3)
  })
})

describe('what a repository says of its checkpoint', () => {
  afterEach(() => server.beside.clear())

  it('comes with it, and is followed', async () => {
    const network = resnet({ layers: 18, classes: 2, width: 1 / 16 })
    const file = join(folder, 'made.safetensors')
    await saveNetwork(file, network, initialise(parametersOf(network), 1))
    const id2label = { 0: 'cat', 1: 'dog' }
    const problem_type = 'multi_label_classification'
    server.beside.set('config.json', JSON.stringify({ model_type: 'resnet', id2label, problem_type }))
    server.beside.set('preprocessor_config.json', JSON.stringify({ size: 64, image_mean: [0.5, 0.5, 0.5] }))
    server.next.push(serve(await readFile(file)))
    await pull(name, quick)
    expect((await readdir(models)).sort()).toEqual(
      ['', '.config', '.preprocessor_config', '']
        .map((part, i) => (i < 3 ? `somebody--resnet${part}.json` : 'somebody--resnet.safetensors'))
        .sort(),
    )
    await using model = await openModel(name)
    expect([model.labels, model.activation]).toEqual([['cat', 'dog'], 'sigmoid'])
    expect(model.preprocessing.mean).toEqual([0.5, 0.5, 0.5])
  })

  it('is not requested if the registry has it', async () => {
    server.beside.set('config.json', '{}')
    const source = { ...findSource(name), checkpoint: checkpoints['resnet50.tv_in1k']! }
    await pullSource(
      { ...source, checkpoint: { ...source.checkpoint, sha256: sha256(bytes) } as never },
      quick,
    )
    expect((await readdir(models)).filter(each => each.includes('config'))).toEqual([])
  })

  it('may be large, but not without end', async () => {
    server.beside.set('config.json', ' '.repeat(5 << 20))
    await expect(pull(name, quick)).rejects.toEqual(coded('DOWNLOAD_FAILED', 'more than 4194304 bytes'))
    expect(existsSync(join(models, 'somebody--resnet.safetensors'))).toBe(false)
    server.beside.clear()
    await expectPulled(await pull(name, quick)) // goes on from what has come
  })
})

describe('the way there', () => {
  it("follows redirects, with the token for the hub only and the hub's checksum", async () => {
    process.env.HF_TOKEN = 'secret'
    const storage = await fileServer(() => bytes)
    storage.next.push(serve(bytes, { 'x-linked-etag': `"${sha256(other)}"`, etag: '"storage"' }))
    server.next.push(
      (_, response) => response.writeHead(307, { location: '/renamed' }).end(),
      (_, response) =>
        response.writeHead(302, { ...hubHeaders(bytes), location: `${storage.url}/a?b=c` }).end(),
    )
    try {
      await expectPulled(await pull(name, quick))
    } finally {
      await storage.close()
    }
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer secret',
      'Bearer secret',
    ])
    expect(storage.requests.map(({ url, headers }) => [url, headers.authorization])).toEqual([
      ['/a?b=c', undefined],
    ])
  })

  it.each([
    ['/loop', 'more than 8 times'],
    ['http://example.invalid/x', 'not https'],
    ['file:///etc/passwd', 'not https'],
    ['http://[', 'not a valid URL'],
    [undefined, 'without a location'],
  ])('does not follow redirects to %s', async (location, message) => {
    for (let i = 0; i < 9; i++)
      server.next.push((_, response) => response.writeHead(302, { ...(location && { location }) }).end())
    await expect(pull(name, quick)).rejects.toEqual(coded('DOWNLOAD_FAILED', message))
  })

  it("uses the environment's proxy, except for hosts in NO_PROXY", async () => {
    const targets: string[] = []
    const proxy = createServer().on('connect', ({ url }, socket) => {
      targets.push(url!)
      const through = connect(Number(new URL(server.url).port), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n')
        through.pipe(socket).pipe(through)
      })
      for (const end of [socket, through]) end.on('error', () => {})
    })
    process.env.HTTP_PROXY = await listen(proxy)
    process.env.HF_ENDPOINT = 'http://hub.example.invalid'
    try {
      await expectPulled(await pull(name, quick))
      expect([...new Set(targets)]).toEqual(['hub.example.invalid:80'])
      const asked = targets.length
      process.env.NO_PROXY = '127.0.0.1'
      process.env.HF_ENDPOINT = `${server.url}/` // as people write it
      await pull('somebody/more', quick)
      expect(targets).toHaveLength(asked)
      process.env.HTTP_PROXY = 'http://127.0.0.1:1'
      process.env.NO_PROXY = ''
      await expect(pull('somebody/most', quick)).rejects.toEqual(coded('DOWNLOAD_FAILED'))
    } finally {
      await close(proxy)
    }
  })

  it('reports a mirror that is not an address', async () => {
    process.env.HF_ENDPOINT = 'hub'
    await expect(pull(name, quick)).rejects.toEqual(coded('DOWNLOAD_FAILED', 'Check HF_ENDPOINT'))
  })

  it('uses the mirror for the registry as well', () => {
    expect(findSource('resnet50.tv_in1k').url).toBe(
      `${server.url}/timm/resnet50.tv_in1k/resolve/aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8/model.safetensors`,
    )
  })
})

describe('the machine it comes to', () => {
  it.skipIf(!existsSync('/dev/full'))(
    'says that the disk is full, and goes on when it no longer is',
    async () => {
      await mkdir(models)
      await symlink('/dev/full', part())
      await expect(pull(name, quick)).rejects.toEqual(coded('FILE_WRITE_FAILED', 'ENOSPC'))
      await rm(part(), { force: true })
      await expectPulled(await pull(name, quick))
    },
  )

  it('names the folder it cannot create', async () => {
    await writeFile(models, '')
    await expect(pull(name, quick)).rejects.toEqual(coded('FILE_WRITE_FAILED', models))
  })

  it.skipIf(!existsSync('/proc/self'))('says that a folder is one that takes no others', async () => {
    process.env.RESIDUAL_CACHE = '/proc/residual' // where Node's own recursive mkdir never returns
    await expect(pull(name, quick)).rejects.toEqual(coded('FILE_WRITE_FAILED', '/proc/residual'))
  })

  it('lets two pulls of the same file download it once', async () => {
    const paths = await Promise.all([pull(name, quick), pull(name, quick), pull(name, quick)])
    for (const path of paths) await expectPulled(path)
    expect(server.requests).toHaveLength(1)
  })

  it('waits for a held lock, but not for one whose holder is gone', async () => {
    await mkdir(models)
    const lock = join(models, 'somebody--resnet.safetensors.lock')
    await writeFile(lock, '')
    const stopped = pull(name, { ...quick, signal: AbortSignal.timeout(250) })
    await expect(stopped).rejects.toThrow(/timeout/)
    expect(server.requests).toHaveLength(0)
    await utimes(lock, 0, 0)
    await expectPulled(await pull(name, quick))
  })

  it('stops when told to, keeping what has arrived', async () => {
    const stop = new AbortController()
    server.next.push(breakAfter(bytes, 90_000, 'stall'))
    const onProgress = ({ received }: { received: number }) =>
      received === 90_000 && stop.abort(new Error('enough'))
    await expect(pull(name, { ...quick, signal: stop.signal, onProgress })).rejects.toThrow('enough')
    expect((await readdir(models)).sort()).toEqual([
      'somebody--resnet.safetensors.part',
      'somebody--resnet.safetensors.part.json',
    ])
    await expect(pull(name, { ...quick, signal: stop.signal })).rejects.toThrow('enough')
    await expectPulled(await pull(name, quick))
    expect(ranges()).toEqual([undefined, 'bytes=90000-'])
  })

  it('gives a model that opens by name, with the preprocessing of its scheme', async () => {
    const file = join(folder, 'made.safetensors')
    const network = resnet({ layers: 18, classes: 3, width: 1 / 16 })
    await saveNetwork(file, network, initialise(parametersOf(network), 1))
    server.next.push(serve(await readFile(file)))
    const path = await pull(name, quick)
    await using model = await openModel(name)
    expect(model.checkpoint.path).toBe(path)
    expect(model.architecture).toMatchObject({ layers: 18, classes: 3, width: 1 / 16 })
    expect(model.preprocessing.interpolation).toBe('bilinear')
    expect(model.labels).toEqual(['class 0', 'class 1', 'class 2'])
  })
})
