import { describe, expect, it } from 'vitest'
import { probe, type Step, toHex } from '../support/probe.ts'
import { noTwin } from '../support/twin.ts'

/** A plan as cuDNN would report it: 32 float32 numbers, negative ones become 0. */
const plan = JSON.stringify({
  operationGraph: {
    tensors: ['1', '6'].map(name => ({
      name,
      dataType: 'CUDNN_DATA_FLOAT',
      dim: [1, 32, 1, 1],
      stride: [32, 1, 32, 32],
      isVirtual: false,
    })),
    nodes: [
      {
        operation: 'CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR',
        pointwiseMode: 'CUDNN_POINTWISE_RELU_FWD',
        X: '1',
        Y: '6',
      },
    ],
  },
})
const bytes = 32 * 4
const numbers = Float32Array.from({ length: 32 }, (_, i) => i - 15.5)

const given: readonly Step[] = [
  { do: 'pinned', name: 'the image', bytes },
  { do: 'fill', name: 'the image', data: toHex(numbers) },
  { do: 'device', name: 'the activations', bytes },
  { do: 'device', name: 'the result', bytes },
  { do: 'pinned', name: 'the answer', bytes },
]
const upload: Step = { do: 'upload', to: 'the activations', from: 'the image', bytes }
const wait: Step = { do: 'wait' }
const relu = (src: string, dst: string): Step => ({
  do: 'execute',
  op: 'relu1',
  plan,
  precision: 'fp16',
  bind: [
    { uid: 1, name: src },
    { uid: 6, name: dst },
  ],
})

const exported = (from: string, to: string, pixels = 32): Step => ({
  do: 'launch',
  op: 'logits',
  to,
  from,
  pixels,
})

/** What is wrong, how it is done after `given`, and what the error says. */
const misuses: readonly (readonly [title: string, steps: readonly Step[], message: string])[] = [
  [
    'pinned memory bound in place of device memory',
    [upload, relu('the image', 'the result')],
    "tensor 1 of 'relu1' touches 'the image', pinned host memory, where device memory is expected",
  ],
  [
    'an upload into pinned memory',
    [{ ...upload, to: 'the answer' }],
    "upload touches 'the answer', pinned host memory, where device memory is expected",
  ],
  [
    'an upload from the device',
    [upload, { ...upload, to: 'the result', from: 'the activations' }],
    "upload touches 'the activations', device memory, where pinned host memory is expected",
  ],
  [
    'a download into the device',
    [upload, { do: 'download', to: 'the result', from: 'the activations', bytes }],
    "download touches 'the result', device memory, where pinned host memory is expected",
  ],
  [
    'a read of memory that was never written',
    [relu('the activations', 'the result')],
    "tensor 1 of 'relu1' reads byte 0 of 'the activations', which was never written",
  ],
  [
    'a read of partly written memory',
    [{ ...upload, bytes: 100 }, relu('the activations', 'the result')],
    "tensor 1 of 'relu1' reads byte 100 of 'the activations', which was never written",
  ],
  [
    'a read past the end',
    [upload, { do: 'download', to: 'the answer', from: 'the activations', bytes: bytes + 1 }],
    "download touches 129 bytes at 0 of 'the activations', which has 128",
  ],
  [
    'a write past the end',
    [upload, { do: 'device', name: 'too little', bytes: 100 }, relu('the activations', 'too little')],
    "tensor 6 of 'relu1' touches 128 bytes at 0 of 'too little', which has 100",
  ],
  [
    'an undeclared write past the end',
    [{ do: 'poke', name: 'the result', at: bytes }, upload],
    "upload wrote outside 'the result' (128 bytes)",
  ],
  [
    'an undeclared write before the beginning',
    [{ do: 'poke', name: 'the result', at: -1 }, upload],
    "upload wrote outside 'the result' (128 bytes)",
  ],
  [
    'a read after the memory was freed',
    [upload, wait, { do: 'free', name: 'the activations' }, relu('the activations', 'the result')],
    "tensor 1 of 'relu1' touches 'the activations' after it was freed",
  ],
  [
    'a write after the memory was freed',
    [upload, { do: 'free', name: 'the result' }, relu('the activations', 'the result')],
    "tensor 6 of 'relu1' touches 'the result' after it was freed",
  ],
  [
    'memory freed while in use',
    [upload, relu('the activations', 'the result'), { do: 'free', name: 'the activations' }],
    "upload touches 'the activations' after it was freed",
  ],
  [
    'a result written over an operand',
    [upload, relu('the activations', 'the activations')],
    "tensor 6 of 'relu1' is written over tensor 1 of 'relu1' in 'the activations'",
  ],
  [
    'a copy of memory that the host changes in the meantime',
    [upload, { do: 'fill', name: 'the image', data: 'ff' }],
    "'the image' changed before upload was done",
  ],
  [
    'a kernel’s read of memory that was never written',
    [exported('the activations', 'the result')],
    "export_fp32 for 'logits' reads byte 0 of 'the activations', which was never written",
  ],
  [
    'a kernel’s read past the end',
    [upload, exported('the activations', 'the result', 33)],
    "export_fp32 for 'logits' touches 132 bytes at 0 of 'the activations', which has 128",
  ],
  [
    'pinned memory where a kernel needs device memory',
    [upload, exported('the activations', 'the answer')],
    "export_fp32 for 'logits' touches 'the answer', pinned host memory, where device memory is expected",
  ],
  [
    'a captured graph replayed after its memory was freed',
    [
      ...([upload, wait, { do: 'begin-capture' }, relu('the activations', 'the result')] as const),
      ...([
        { do: 'end-capture', graph: 'graph' },
        { do: 'free', name: 'the result' },
      ] as const),
      { do: 'replay', graph: 'graph' },
    ],
    "tensor 6 of 'relu1' touches 'the result' after it was freed",
  ],
  [
    'an unbound tensor',
    [
      upload,
      { ...relu('the activations', 'the result'), bind: [{ uid: 1, name: 'the activations' }] } as Step,
    ],
    "tensor 6 of 'relu1' is not bound",
  ],
]

describe.skipIf(noTwin)('the twin', () => {
  it('executes correct uses', () => {
    const download: Step = { do: 'download', to: 'the answer', from: 'the result', bytes }
    const steps = [...given, upload, relu('the activations', 'the result'), download, wait]
    const [answer] = probe([...steps, { do: 'show', name: 'the answer' }])
    expect(answer).toBe(toHex(numbers.map(x => Math.max(x, 0))))
  })

  it.each(misuses)('detects %s, and names memory and operation', (_title, steps, message) => {
    expect(() => probe([...given, ...steps, wait])).toThrow(
      expect.objectContaining({ code: 'INTERNAL', step: wait, message: `twin: ${message}.` }),
    )
  })

  it('replays a captured graph on the current memory, and runs nothing during the capture', () => {
    const show: readonly Step[] = [
      { do: 'replay', graph: 'graph' },
      { do: 'download', to: 'the answer', from: 'the result', bytes },
      wait,
      { do: 'show', name: 'the answer' },
    ]
    const [first, second] = probe([
      ...given,
      { do: 'begin-capture' },
      relu('the activations', 'the result'),
      { do: 'end-capture', graph: 'graph' },
      upload,
      ...show,
      { do: 'fill', name: 'the image', data: toHex(numbers.map(x => -x)) },
      upload,
      ...show,
    ])
    expect(first).toBe(toHex(numbers.map(x => Math.max(x, 0))))
    expect(second).toBe(toHex(numbers.map(x => Math.max(-x, 0))))
  })

  it('runs streams in any order that events allow, so that a missing wait shows', () => {
    const ends = (between: readonly Step[]) => {
      const onOther = { ...relu('the activations', 'the result'), stream: 'other' }
      const steps: Step[] = [...given, upload, ...between, onOther, { ...wait, stream: 'other' }]
      const all = Array.from({ length: 8 }, (_, i) => {
        try {
          probe(steps, { seed: i + 1 })
          return 'right'
        } catch (error) {
          return (error as Error).message
        }
      })
      return new Set(all)
    }
    const unwritten = "twin: tensor 1 of 'relu1' reads byte 0 of 'the activations', which was never written."
    expect(ends([])).toEqual(new Set(['right', unwritten]))
    const waiting: Step[] = [
      { do: 'record', event: 'uploaded' },
      { do: 'wait-for', event: 'uploaded', stream: 'other' },
    ]
    expect(ends(waiting)).toEqual(new Set(['right']))
  })

  it('names what is left at the end, and who used it last', () => {
    const steps: Step[] = [...given, upload, wait, { do: 'lose', name: 'the activations' }]
    for (const name of ['the image', 'the result', 'the answer']) steps.push({ do: 'free', name })
    const [inUse] = probe([...steps, { do: 'in-use' }])
    expect(inUse).toContain(", 128 bytes in use: 128 of 'the activations', last touched by upload")
  })
})
