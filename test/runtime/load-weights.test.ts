import { copyFileSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as tick } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import {
  convBN,
  createSession,
  fromSafetensors,
  fromTensors,
  globalAvgPool,
  input,
  linear,
  load,
  lower,
  openSafetensors,
  type Tensor,
} from '../../lib/index.ts'
import { keepStored } from '../../lib/weights/stored-source.ts'
import { type StoredType, storedBytes } from '../../lib/weights/tensors/stored-type.ts'
import { safetensors, seeded, temporaryFolder } from '../support/files.ts'
import { toRSCK, weightsInRSCK } from '../support/layouts.ts'
import { tinyPlan, tinyWeights } from '../support/tiny.ts'

const folder = temporaryFolder()

/** A convolution over the whole of its input, whose output for an image of one 1 among zeros is therefore its weights. */
function probe(kernel: number, groups: number, [channels, inputs]: readonly [number, number]) {
  const names = { conv: 'c', bn: 'b' }
  const x = convBN(input(inputs), {
    names,
    channels: channels!,
    kernel,
    padding: 0,
    groups,
    activation: null,
  })
  const features = globalAvgPool(x)
  const logits = linear(features, { name: 'fc', classes: 1 })
  const network = { name: 'probe', graph: x.graph, outputs: { logits, features, featureMaps: x } }
  const unit = { mean: Array(inputs).fill(0), std: Array(inputs).fill(1) }
  const plan = lower(network, { height: kernel, width: kernel, ...unit })
  const pixels = kernel * kernel * inputs
  const images = new Float32Array(pixels * pixels)
  for (let i = 0; i < pixels; i++) images[i * pixels + i] = 1
  return { plan, images }
}

/** A number as a type holds it: its bytes and, in float64, its value. */
type Encode = (random: () => number) => { bytes: Uint8Array; value: number }
const bytesOf = (array: Uint16Array | Float32Array | Float64Array) => new Uint8Array(array.buffer)
const encoders: { [type: string]: Encode } = {
  F32: random => {
    const value = Math.fround(random() - 0.5)
    return { bytes: bytesOf(new Float32Array([value])), value }
  },
  F16: random => {
    const bits = Math.floor(random() * 0x4000) | (random() < 0.5 ? 0x8000 : 0) // below 2, many of them subnormal
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023]
    const magnitude = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15)
    return { bytes: bytesOf(new Uint16Array([bits])), value: bits & 0x8000 ? -magnitude : magnitude }
  },
  BF16: random => {
    const bits = 0x3f00 + Math.floor(random() * 0x100)
    const value = (1 + (bits & 127) / 128) * 2 ** ((bits >> 7) - 127)
    return { bytes: bytesOf(new Uint16Array([bits])), value }
  },
  F64: random => {
    const value = random() - 0.5
    return { bytes: bytesOf(new Float64Array([value])), value }
  },
}

const negativeInfinity = {
  F32: [0, 0, 0x80, 0xff],
  F16: [0, 0xfc],
  BF16: [0x80, 0xff],
  F64: [0, 0, 0, 0, 0, 0, 0xf0, 0xff],
}

/** The bytes of a file with these tensors; of each number of `data` as many bytes as the type has. */
function fileOfType(
  type: string,
  tensors: readonly { name: string; shape: readonly number[]; data: readonly Uint8Array[] }[],
): Buffer {
  const width = storedBytes[type as StoredType]
  const header: { [name: string]: object } = {}
  const bytes: number[] = []
  for (const { name, shape, data } of tensors) {
    const begin = bytes.length
    for (const number of data) bytes.push(...number.subarray(0, width))
    header[name] = { dtype: type, shape, data_offsets: [begin, bytes.length] }
  }
  return safetensors(header, bytes)
}

describe('weights', () => {
  const shapes = [
    { kernel: 1, groups: 1, channels: 6, inputs: 8 },
    { kernel: 3, groups: 1, channels: 2, inputs: 130 }, // more than are turned at a time
    { kernel: 1, groups: 1, channels: 130, inputs: 20 }, // several panels, and part of one
    { kernel: 3, groups: 2, channels: 6, inputs: 8 },
    { kernel: 2, groups: 8, channels: 8, inputs: 8 },
  ]
  const layouts = ['KCRS', 'RSCK'] as const
  it.each(
    Object.keys(encoders).flatMap(type =>
      shapes.flatMap(shape => layouts.map(layout => ({ type, ...shape, layout }))),
    ),
  )(
    'of a file are folded to the bit: $type $layout, kernel $kernel, $channels channels, $groups groups',
    async options => {
      const { type, kernel, groups, channels, layout } = options
      const { plan, images } = probe(kernel, groups, [channels, options.inputs])
      const inputs = options.inputs / groups
      const random = seeded(kernel * 10 + groups)
      const numbers = (count: number) => Array.from({ length: count }, () => encoders[type]!(random))
      const taps = kernel * kernel
      const zeros = Array.from({ length: channels }, () => ({
        bytes: bytesOf(new Float64Array(1)),
        value: 0,
      }))
      const tensors = {
        'c.weight': { shape: [channels, inputs, kernel, kernel], data: numbers(channels * inputs * taps) },
        'b.weight': { shape: [channels], data: numbers(channels) },
        'b.bias': { shape: [channels], data: zeros },
        'b.running_mean': { shape: [channels], data: zeros },
        'b.running_var': { shape: [channels], data: numbers(channels) },
        'fc.weight': { shape: [1, channels], data: zeros },
        'fc.bias': { shape: [1], data: zeros.slice(0, 1) },
      }
      // A variance is not below 0: its sign bit is the last one.
      for (const one of tensors['b.running_var'].data) {
        one.bytes[one.bytes.length - 1]! &= 0x7f
        one.value = Math.abs(one.value)
      }
      const entries = Object.entries(tensors)
      // As this package writes them, and as PyTorch's users do: sorted by name.
      for (const order of [entries, [...entries].sort(([a], [b]) => (a < b ? -1 : 1))]) {
        const path = join(folder, 'folded.safetensors')
        const laidOut = order.map(([name, { shape, data }]) => ({
          name,
          shape,
          data: (name === 'c.weight' && layout === 'RSCK' ? toRSCK(shape, data) : data).map(
            ({ bytes }) => bytes,
          ),
        }))
        writeFileSync(path, fileOfType(type, laidOut))
        await using file = await openSafetensors(path)
        const source = fromSafetensors(file)
        keepStored(source, {
          file,
          locate: name => ({ name, layout: name === 'c.weight' ? layout : 'KCRS' }),
        })
        await using session = await createSession(plan, source, { device: 'cpu', exact: true })
        const { featureMaps } = await session.run(images, { outputs: ['featureMaps'] })

        const value = (name: keyof typeof tensors, i: number) => Math.fround(tensors[name].data[i]!.value)
        for (let k = 0; k < channels; k++) {
          const scale = value('b.weight', k) / Math.sqrt(value('b.running_var', k) + 1e-5)
          const group = Math.floor(k / (channels / groups))
          for (let tap = 0; tap < taps; tap++) {
            for (let c = 0; c < inputs; c++) {
              const image = tap * inputs * groups + group * inputs + c
              const expected = Math.fround(value('c.weight', (k * inputs + c) * taps + tap) * scale)
              expect(featureMaps[image * channels + k]! + 0).toBe(expected + 0) // no -0
            }
          }
        }
      }
    },
  )

  const one = (data: number[], shape = [data.length]): Tensor => ({ shape, data: new Float32Array(data) })
  const probeTensors = (changes: { [name: string]: Tensor }) =>
    new Map<string, Tensor>(
      Object.entries({
        'c.weight': one([1, 2, 3, 4], [2, 2, 1, 1]),
        'b.weight': one([1, 1]),
        'b.bias': one([0, 0]),
        'b.running_mean': one([0, 0]),
        'b.running_var': one([1, 1]),
        'fc.weight': one([1, 1], [1, 2]),
        'fc.bias': one([0]),
        ...changes,
      }),
    )
  const { plan: small } = probe(1, 1, [2, 2])

  it.each([
    [
      'NaN',
      { 'c.weight': one([1, 2, 3, Number.NaN], [2, 2, 1, 1]) },
      "'c' of a test: A weight of channel 1 comes to NaN.",
    ],
    [
      'too large',
      { 'c.weight': one([1, -3e38, 3, 4], [2, 2, 1, 1]), 'b.weight': one([9, 1]) },
      "'c' of a test: A weight of channel 0 comes to -Infinity.",
    ],
    [
      'NaN in the classifier',
      { 'fc.weight': one([Number.NaN, 1], [1, 2]) },
      "'fc' of a test: A weight of channel 0 comes to NaN.",
    ],
  ] as const)('in memory that come to nothing finite are refused: %s', async (_, changes, message) => {
    const source = fromTensors(probeTensors(changes), 'a test')
    await expect(createSession(small, source)).rejects.toMatchObject({ code: 'NON_FINITE', message })
  })

  it.each(['fc.bias', 'fc.weight', 'c.weight', 'b.weight', 'b.running_var'])(
    'of a source that gives no Float32Array are refused: %s',
    async name => {
      const whole = fromTensors(probeTensors({}), 'a test')
      for (const wrong of [Uint8Array, Float64Array, Array, Int32Array] as { name: string }[]) {
        const source = {
          ...whole,
          read: async (asked: string) => {
            const numbers = await whole.read(asked)
            return (asked === name ? (wrong as ArrayConstructor).from(numbers) : numbers) as Float32Array
          },
        }
        await expect(createSession(small, source)).rejects.toThrow(
          new TypeError(
            `Expected a Float32Array for '${name}' of a test but received a value of type ${wrong.name}`,
          ),
        )
      }
    },
  )

  it('whose bias is not finite are refused', async () => {
    for (const [value, shown] of [
      [Number.NaN, 'NaN'],
      [Number.NEGATIVE_INFINITY, '-Infinity'],
    ] as const) {
      const source = fromTensors(probeTensors({ 'fc.bias': one([value]) }), 'a test')
      await expect(createSession(small, source)).rejects.toMatchObject({
        code: 'NON_FINITE',
        message: `'fc.bias' in a test is ${shown} at index 0.`,
      })
    }
  })

  it.each(['F32', 'F16', 'BF16', 'F64'])('of a file that are not finite are named: %s', async type => {
    const infinity = Uint8Array.from(negativeInfinity[type as keyof typeof negativeInfinity])
    const path = join(folder, 'infinite.safetensors')
    const zero = new Uint8Array(8)
    const tensors = [...probeTensors({})].map(([name, { shape, data }]) => ({
      name,
      shape,
      data: Array.from(data, (_, i) => (name === 'c.weight' && i === 2 ? infinity : zero)),
    }))
    writeFileSync(path, fileOfType(type, tensors))
    await using file = await openSafetensors(path)
    await expect(createSession(small, fromSafetensors(file))).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: `'c.weight' in ${path} is -Infinity at index 2.`,
    })
  })

  it.each([
    [[1, 2, 3, Number.NaN], 'channel 1 comes to NaN'],
    [[Number.POSITIVE_INFINITY, 2, 3, 4], 'channel 0 comes to Infinity'],
  ])('in RSCK are refused too: %j', async (numbers, problem) => {
    const source = weightsInRSCK(
      fromTensors(probeTensors({ 'c.weight': one(numbers, [2, 2, 1, 1]) }), 'a test'),
    )
    await expect(createSession(small, source)).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: `'c' of a test: A weight of ${problem}.`,
    })
  })

  it('that are not finite are reported before tensors that later operations miss', async () => {
    const path = join(folder, 'missing.safetensors')
    const { 'fc.weight': _, ...others } = Object.fromEntries(probeTensors({}))
    const tensors = Object.entries(others).map(([name, { shape, data }]) => ({
      name,
      shape,
      data: Array.from(data, value => bytesOf(Float32Array.of(name === 'c.weight' ? Number.NaN : value))),
    }))
    writeFileSync(path, fileOfType('F32', tensors))
    await using file = await openSafetensors(path)
    await expect(createSession(small, fromSafetensors(file), { threads: 4 })).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: `'c.weight' in ${path} is NaN at index 0.`,
    })
  })

  it('that fail in several operations are reported by the first, whichever ends first', async () => {
    const slow = { ...tinyWeights }
    slow.read = async name => {
      if (name.startsWith('block.conv1')) await new Promise(resolve => setTimeout(resolve, 20))
      return (await tinyWeights.read(name)).fill(Number.NaN)
    }
    for (let i = 0; i < 3; i++)
      await expect(createSession(tinyPlan, slow, { threads: 4 })).rejects.toThrow("'block.conv1'")
  })

  it('are what `read` returns if they do not come straight from the file', async () => {
    await using file = await openSafetensors(join(packageRoot, 'models', 'resnet50-cifar10.safetensors'))
    await using classifier = await load('resnet50-cifar10', { device: 'cpu' })
    const { plan } = classifier.session
    const source = fromSafetensors(file)
    const asked: string[] = []
    const negated = {
      ...source,
      read: async (name: string) => {
        asked.push(name)
        const data = await file.read(name)
        return name === 'fc.weight' || name === 'fc.bias' ? data.map(x => -x) : data
      },
    }
    const pixels = new Uint8Array(64 * 64 * 3).fill(99)
    await using session = await createSession(plan, negated, { device: 'cpu' })
    const [theirs, ours] = [await session.run(pixels), await classifier.run(pixels)]
    expect(theirs.logits).toEqual(ours.logits.map(x => -x))
    expect(asked).toContain('conv1.weight')
  })
})

describe('a checkpoint', () => {
  const bundled = join(packageRoot, 'models', 'resnet50-cifar10.safetensors')
  const record = bundled.replace('.safetensors', '.json')
  const path = join(folder, 'copy.safetensors')
  const pixels = new Uint8Array(64 * 64 * 3).fill(77)
  const copy = () => {
    copyFileSync(bundled, path)
    copyFileSync(record, path.replace('.safetensors', '.json'))
  }

  it('that is truncated while it loads is refused, or was read before', async () => {
    await using whole = await load(bundled)
    const expected = (await whole.run(pixels)).logits
    const outcomes: string[] = []
    for (let ticks = 0; ticks < 40; ticks++) {
      copy()
      const loading = load(path, { threads: 3 }).then(
        async classifier => {
          expect((await classifier.run(pixels)).logits).toEqual(expected)
          await classifier.close()
          return 'loaded'
        },
        (error: { code: string }) => error.code,
      )
      for (let i = 0; i < ticks * 5; i++) await tick()
      truncateSync(path, 100_000)
      outcomes.push(await loading)
    }
    expect(outcomes).toContain('CHECKPOINT_INVALID')
    expect(outcomes.filter(outcome => outcome !== 'CHECKPOINT_INVALID' && outcome !== 'loaded')).toEqual([])
  }, 60_000)

  it('that was overwritten after it was opened is refused', async () => {
    copy()
    await using file = await openSafetensors(path)
    await using classifier = await load(path)
    utimesSync(path, 1, 1)
    await expect(createSession(classifier.session.plan, fromSafetensors(file))).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining('it has changed since it was opened'),
    })
  })

  it('may be closed while it loads, and may be loaded many times at once', async () => {
    await using first = await load(bundled)
    const expected = (await first.run(pixels)).logits
    const loading = Array.from({ length: 8 }, () => load(bundled, { threads: 2 }))
    await using file = await openSafetensors(bundled)
    const closedMeanwhile = expect(
      createSession(first.session.plan, fromSafetensors(file)),
    ).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' }) // listened to at once: it may fail before the file is closed for good
    await tick()
    await file.close()
    await closedMeanwhile
    for (const classifier of await Promise.all(loading)) {
      expect((await classifier.run(pixels)).logits).toEqual(expected)
      await classifier.close()
    }
  })
})
