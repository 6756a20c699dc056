import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { errorCodes, outputNames } from '../../lib/index.ts'
import { loadWeights } from '../../lib/runtime/load-weights.ts'
import { loadNative, translateError } from '../../lib/runtime/native.ts'
import { tinyBytes, tinyPlan, tinyWeights } from '../support/tiny.ts'

// C++ re-checks what JavaScript has checked: these calls go past lib/.
describe('the addon', () => {
  const { NativeSession, resize } = loadNative()
  const open = () => new NativeSession(tinyPlan, { threads: 2, isa: '', exact: false })
  const op3x3 = tinyPlan.ops.findIndex(op => op.kind === 'conv' && op.kernel === 3)
  const code = async (call: () => unknown) => {
    try {
      await call()
      return 'no error'
    } catch (error) {
      return (translateError(error) as { code?: string }).code
    }
  }

  it('refuses weights of the wrong size, and for operations that take none or do not exist', async () => {
    const session = open()
    // Operation 1 takes 8 x 3 numbers.
    const loading = (
      op: number,
      bytes = 96,
      type = 'F32',
      scales = 8,
      biases = 8,
      offset = 0,
      layout = 'KCRS',
    ) => {
      const memory = new Uint8Array(bytes + offset).subarray(offset)
      const [scale, bias] = [new Float64Array(scales).fill(1), new Float32Array(biases)]
      return code(() => session.loadWeights(op, memory, layout as 'KCRS', type as 'F32', scale, bias))
    }
    expect(await loading(1)).toBe('no error')
    expect(await loading(0)).toBe('INTERNAL')
    expect(await loading(99)).toBe('INTERNAL')
    expect(await loading(1, 92)).toBe('INTERNAL')
    expect(await loading(1, 48, 'F16')).toBe('no error')
    expect(await loading(1, 96, 'F16')).toBe('INTERNAL')
    expect(await loading(1, 96, 'F64')).toBe('INTERNAL')
    expect(await loading(1, 192, 'F64')).toBe('no error')
    expect(await loading(1, 24, 'I8')).toBe('no error')
    expect(await loading(1, 24, 'I16')).toBe('INTERNAL')
    expect(await loading(1, 96, 'F32', 7)).toBe('INTERNAL')
    expect(await loading(1, 96, 'F32', 8, 9)).toBe('INTERNAL')
    expect(await loading(1, 96, 'F32', 8, 8, /*offset=*/ 2)).toBe('no error') // copied, and thereby aligned
    expect(await loading(1, 192, 'F64', 8, 8, /*offset=*/ 4)).toBe('no error')
    expect(await loading(1, 96, 'F32', 8, 8, 0, 'RSCK')).toBe('no error')
    expect(await loading(1, 96, 'F32', 8, 8, 0, 'CRSK')).toBe('INTERNAL')
  })

  it('refuses weights of a file that is unreadable, too short or not a file', async () => {
    const session = open()
    const file = openSync(import.meta.filename, 'r')
    const { size } = fstatSync(file)
    const loading = (descriptor: number, position: number) =>
      code(() =>
        session.loadWeights(
          1,
          { descriptor, position },
          'KCRS',
          'BF16', // in which no text is a NaN
          new Float64Array(8).fill(0),
          new Float32Array(8),
        ),
      )
    expect(await loading(file, size - 47)).toBe('CHECKPOINT_INVALID')
    expect(await loading(file, size + 1)).toBe('CHECKPOINT_INVALID')
    expect(await loading(file, size - 48)).toBe('no error')
    closeSync(file)
    expect(await loading(2 ** 30, 0)).toBe('FILE_NOT_FOUND')
    expect(await loading(-1, 0)).toBe('INTERNAL')
    expect(await loading(0, -1)).toBe('INTERNAL')
    expect(await loading(2 ** 32, 0)).toBe('INTERNAL')
    expect(await loading(0.5, 0)).toBe('INTERNAL')
    expect(await loading('0' as unknown as number, 0)).toBe('INTERNAL')
    expect(await loading(0, undefined as unknown as number)).toBe('INTERNAL')
  })

  it('refuses to run before all weights are loaded, and after dispose', async () => {
    const session = open()
    expect(await code(() => session.run(tinyBytes(1), ['logits']))).toBe('INTERNAL')
    session.dispose()
    session.dispose()
    expect(await code(() => session.run(tinyBytes(1), ['logits']))).toBe('SESSION_CLOSED')
    expect(await code(() => session.description())).toBe('SESSION_CLOSED')
  })

  it('opens sessions on another thread that are as good as those of the constructor, and refuses the same', async () => {
    const [one, other] = await Promise.all([1, 2].map(() => NativeSession.open(tinyPlan, { threads: 1 })))
    const here = new NativeSession(tinyPlan, { threads: 1 })
    for (const session of [one!, other!, here]) await loadWeights(tinyPlan, tinyWeights, session, 1)
    const expected = await here.run(tinyBytes(2), ['logits'])
    for (const session of [one!, other!]) {
      expect(session).toBeInstanceOf(NativeSession)
      expect(await session.run(tinyBytes(2), ['logits'])).toEqual(expected)
    }
    one!.dispose()
    expect(await code(() => one!.run(tinyBytes(1), ['logits']))).toBe('SESSION_CLOSED')
    expect(await other!.run(tinyBytes(2), ['logits'])).toEqual(expected)
    expect(await code(() => NativeSession.open({ ...tinyPlan, ops: [] }, {}))).toBe('PLAN_INVALID')
    expect(await code(() => NativeSession.open(tinyPlan, { threads: 0 }))).toBe('INTERNAL')
    expect(await code(() => NativeSession.open(tinyPlan, { isa: 'mmx' }))).toBe('BACKEND_UNAVAILABLE')
  })

  it('makes ready what a batch takes, once the weights are there and before dispose', async () => {
    const session = open()
    expect(await code(() => session.prepare(1))).toBe('INTERNAL')
    await loadWeights(tinyPlan, tinyWeights, session, 1)
    for (const images of [0, -1, 1.5, 2 ** 31, '1' as unknown as number])
      expect(await code(() => session.prepare(images))).toBe('INTERNAL')
    expect(await code(() => session.prepare(3))).toBe('no error')
    session.dispose()
    expect(await code(() => session.prepare(1))).toBe('SESSION_CLOSED')
  })

  it('lists the algorithms for an operation, the one in use first, and accepts no others', async () => {
    const given = (algorithms: unknown, exact = false) =>
      new NativeSession(tinyPlan, { isa: 'baseline', exact, algorithms: algorithms as string[] })
    const ways = given(undefined).algorithms()
    expect(ways.map(names => names.toSorted())).toEqual(
      tinyPlan.ops.map(op => {
        if (op.kind === 'conv' && op.kernel === 3) return ['direct', 'winograd2', 'winograd4']
        return op.kind === 'conv' || op.kind === 'linear' ? ['direct'] : []
      }),
    )
    const choose = (choice: string, kernel: number) =>
      tinyPlan.ops.map(op => (op.kind === 'conv' && op.kernel === kernel ? choice : ''))
    for (const choice of ['direct', 'winograd2', 'winograd4', '']) {
      const [first] = given(choose(choice, 3)).algorithms()[op3x3]!
      expect(first).toBe(choice || ways[op3x3]![0])
    }
    expect(given(undefined, /*exact=*/ true).algorithms()[op3x3]).toEqual(['direct'])
    const refused = [
      choose('fastest', 3),
      choose('winograd3', 3),
      choose('winograd2', 1),
      [...choose('', 3), ''],
      [],
      tinyPlan.ops.map(() => 2),
      { length: tinyPlan.ops.length },
      new Array(2 ** 32 - 1),
      'direct',
      null,
    ]
    for (const algorithms of refused) expect(await code(() => given(algorithms))).toBe('INTERNAL')
    expect(await code(() => given(choose('winograd2', 3), /*exact=*/ true))).toBe('INTERNAL')
    const session = given([...choose('direct', 3)])
    session.dispose()
    expect(await code(() => session.algorithms())).toBe('SESSION_CLOSED')
  })

  it('refuses inputs that are not a batch, and unknown outputs', async () => {
    const session = open()
    expect(await code(() => session.run(new Uint8Array(5), ['logits']))).toBe('INTERNAL')
    expect(await code(() => session.run(new Uint8Array(0), ['logits']))).toBe('INTERNAL')
    expect(await code(() => session.run(new Int16Array(192) as unknown as Uint8Array, ['logits']))).toBe(
      'INTERNAL',
    )
    expect(await code(() => session.run(tinyBytes(1), ['boxes' as 'logits']))).toBe('INTERNAL')
  })

  it('refuses inconsistent resize arguments', async () => {
    const good = {
      height: 2,
      width: 2,
      outHeight: 4,
      outWidth: 4,
      top: 0,
      left: 0,
      cropHeight: 4,
      cropWidth: 4,
    }
    const call = (change: object, bytes = 12) =>
      code(() => resize(new Uint8Array(bytes), { ...good, filter: 'bilinear', ...change }))
    expect(await call({})).toBe('no error')
    expect(await call({}, 11)).toBe('INTERNAL')
    expect(await call({ outHeight: 0 })).toBe('INTERNAL')
    expect(await call({ top: 1 })).toBe('INTERNAL')
    expect(await call({ left: -1 })).toBe('INTERNAL')
    expect(await call({ cropWidth: 5 })).toBe('INTERNAL')
    expect(await call({ width: 2 ** 30, outWidth: 2 ** 30 })).toBe('INTERNAL')
  })

  it('throws only codes from the table, and uses the same output names', () => {
    const source = (file: string) => readFileSync(join(packageRoot, 'native', 'core', file), 'utf8')
    const codes = [...source('error.h').matchAll(/return "([A-Z_]+)";/g)].map(match => match[1]!)
    expect(codes.length).toBeGreaterThan(4)
    for (const name of codes) expect(Object.keys(errorCodes)).toContain(name)
    const names = source('plan.h').match(/kOutputNames\[kOutputCount\] = \{([^}]*)\}/)![1]!
    expect(names.match(/\w+/g)).toEqual([...outputNames])
  })
})
