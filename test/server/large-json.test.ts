import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { parseObject } from '../../lib/server/json/json.ts'
import { JsonParser } from '../../lib/server/json/json-parser.ts'
import { formatAnswer, parseRequest } from '../../lib/server/rest/format.ts'

const parser = new JsonParser(1, 8)
afterAll(() => parser.close())

const never = new AbortController().signal
const limits = { jsonBytes: 2 ** 25, picturesPerRequest: 256 }
const parse = (request: unknown, signal = never) =>
  parseRequest(Buffer.from(JSON.stringify(request)), undefined, limits, parser, signal)

/** What `work` comes to, and how often others had their turn meanwhile. */
async function turnsDuring<T>(work: Promise<T>): Promise<{ value: T; turns: number }> {
  let [turns, done] = [0, false]
  const count = async () => {
    for (; !done; turns++) await nextTurn()
  }
  const counting = count()
  const value = await work
  done = true
  await counting
  return { value, turns }
}

const values = (count: number, of: (i: number) => number) => Array.from({ length: count }, (_, i) => of(i))

describe('large JSON', () => {
  it('is parsed on another thread: other work continues meanwhile', async () => {
    const data = values(10 * 64 * 64 * 3, i => Math.fround(Math.sin(i)))
    const pixels = values(64 * 64 * 3, i => i % 256)
    const request = {
      id: 'mine',
      parameters: { kept: true, timeout: 1000 },
      inputs: [
        { name: 'tensor', datatype: 'FP32', shape: [10, 3, 64, 64], data },
        { name: 'pixels', datatype: 'UINT8', shape: [1, 64, 64, 3], data: pixels },
        { name: 'pictures', datatype: 'BYTES', shape: [2], data: ['QUJD', 'A'.repeat(100_000)] },
      ],
      outputs: [{ name: 'logits', parameters: { binary_data: true, mine: 1 } }],
    }
    const { value, turns } = await turnsDuring(parse(request))
    expect(turns).toBeGreaterThan(20)
    expect(value).toMatchObject({ id: 'mine', parameters: request.parameters, timeoutMs: 1 })
    expect(value.outputs).toEqual([{ name: 'logits' }])
    expect(value.formats.get('logits')).toEqual({ binary: true, parameters: { mine: 1 } })
    const [tensor, bytes, images] = value.inputs
    expect([...new Float32Array(tensor!.raw!.slice().buffer)]).toEqual(data)
    expect([...bytes!.raw!]).toEqual(pixels)
    expect(images!.elements!.map(element => Buffer.from(element).toString('base64'))).toEqual(
      request.inputs[2]!.data,
    )
  })

  it.each<[string, object | string, RegExp]>([
    ['no JSON', 'x'.repeat(100_000), /not a JSON object/],
    [
      'values that are none',
      { name: 'pixels', datatype: 'UINT8', shape: [50_000], data: values(50_000, i => i) },
      /^Element 256 .* must be an integer from 0 to 255/,
    ],
    [
      'text that is not base64',
      { name: 'pictures', datatype: 'BYTES', shape: [1], data: ['!'.repeat(100_000)] },
      /must be a base64 string/,
    ],
  ])('with %s is refused as if it were small', async (_, input, message) => {
    await expect(parse(typeof input === 'string' ? input : { inputs: [input] })).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
      message: expect.stringMatching(message),
    })
  })

  it('takes no memory for missing tensors', async () => {
    const data = values(50_000, () => 1)
    for (const shape of [[1e15], [1, 1, 1, 1, 50_000], [2 ** 31, 2 ** 31]]) {
      const { inputs } = await parse({ inputs: [{ name: 'pixels', datatype: 'UINT8', shape, data }] })
      expect(inputs[0]!.raw!.length).toBe(0)
    }
  })

  const named = (name: string) => ({ name, datatype: 'UINT8', shape: [1], data: [1] })
  it.each<[string, object]>([
    ['its id', { inputs: [], id: 'x'.repeat(100_000) }],
    [
      'parameters',
      { inputs: [], parameters: Object.fromEntries(values(10_000, i => i).map(i => [`p${i}`, i])) },
    ],
    [
      'a shape',
      { inputs: [{ name: 'pixels', datatype: 'UINT8', shape: values(50_000, () => 1), data: [] }] },
    ],
    ['inputs', { inputs: values(5000, i => i).map(i => named(`n${i}`)) }],
    ['outputs', { inputs: [], outputs: values(5000, i => i).map(i => ({ name: `n${i}` })) }],
    ["an output's parameters", { inputs: [], outputs: [{ name: 'n', parameters: { p: 'x'.repeat(1e5) } }] }],
  ])(
    'whose bulk is not the data of tensors, but %s, never comes back from that thread',
    async (_, request) => {
      await expect(parse(request)).rejects.toMatchObject({
        code: 'REQUEST_TOO_LARGE',
        message: expect.stringMatching(/more than 65536 bytes besides tensor data/),
      })
    },
  )

  it.each([
    ['4 million lists', '['.repeat(2 ** 22) + ']'.repeat(2 ** 22)],
    ['lists without an end', '['.repeat(2 ** 23)],
    ['objects', `${'{"a":'.repeat(2 ** 20)}0${'}'.repeat(2 ** 20)}`],
    ['a tensor of five extents, small', '{"inputs":[{"name":"pixels","data":[[[[[0]]]]]}]}'],
  ])('nested deeper than any tensor is refused before it takes memory: %s', async (_, text) => {
    const parsing = vi.spyOn(JSON, 'parse')
    expect(() => parseObject(text)).toThrow(/nested more than 7 levels deep/)
    expect(parsing).not.toHaveBeenCalled() // it would make objects of gigabytes
    parsing.mockRestore()
    await expect(parseRequest(Buffer.from(text), undefined, limits, parser, never)).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
      message: expect.stringMatching(/^The JSON is nested more than 7 levels deep at character \d+\./),
    })
  })

  it('may be nested as deeply as a tensor of four dimensions, whatever its strings contain', async () => {
    const id = '[[[[[[[[{{{{{{{{"\\"[[[\\\\'
    const parameters = { '[{"': '\\' }
    const input = { name: 'pixels', datatype: 'UINT8', shape: [1, 1, 1, 3], data: [[[[1, 2, 3]]]] }
    const parsed = await parse({ id, parameters, inputs: [input] })
    expect(parsed).toMatchObject({ id, parameters, inputs: [{ values: input.data }] })
  })

  it('with too many images decodes none of them', async () => {
    const data = values(50_000, () => 0).map(() => '')
    const { inputs } = await parse({
      inputs: [{ name: 'pictures', datatype: 'BYTES', shape: [50_000], data }],
    })
    expect(inputs[0]).toMatchObject({ raw: new Uint8Array(), shape: [50_000] })
  })

  it('is not waited for once its client has gone, and the thread answers the next request', async () => {
    const controller = new AbortController()
    const data = ['x'.repeat(1e6)]
    const request = { inputs: [{ name: 'pictures', datatype: 'BYTES', shape: [1], data }] }
    const gone = parse(request, controller.signal)
    const next = parse({ ...request, parameters: { next: true } })
    controller.abort(new Error('gone'))
    await expect(gone).rejects.toThrow('gone')
    expect((await next).parameters).toEqual({ next: true })
  })
})

describe('a large answer', () => {
  it('is written in parts, and reads back as the same float32', async () => {
    const data = Float32Array.from({ length: 50_000 }, (_, i) => Math.sin(i) * 10 ** ((i % 60) - 30))
    const request = await parse({ id: 'mine', inputs: [] })
    const output = { name: 'features', datatype: 'FP32', shape: [1, data.length], data } as const
    const writing = formatAnswer(request, { name: 'm', version: '1' }, [output])
    const { value, turns } = await turnsDuring(writing)
    expect(turns).toBeGreaterThan(10)
    expect(JSON.parse(value.json)).toEqual({
      model_name: 'm',
      model_version: '1',
      id: 'mine',
      outputs: [{ ...output, data: [...data] }],
    })
  })
})
