import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../../lib/base/package-root.ts'
import { openModel } from '../../../lib/index.ts'
import { openPaddle } from '../../../lib/weights/formats/paddle/open-paddle.ts'
import { type Expected, expectTensors } from '../../support/expected-tensors.ts'
import { temporaryFolder } from '../../support/files.ts'
import { python } from '../../support/python.ts'

interface Report {
  readonly read: { readonly [file: string]: Expected }
  /** What Paddle does not save, with its words for it. */
  readonly refused: { readonly [file: string]: string }
}

const folder = temporaryFolder()
const script = join(packageRoot, 'test', 'support', 'paddle_files.py')

describe("PaddlePaddle's own files", () => {
  const printed = execFileSync(python, ['-W', 'ignore', script, folder], { encoding: 'utf8' })
  const report = JSON.parse(printed.trim().split('\n').at(-1)!) as Report

  it.each(Object.keys(report.read))('hold what Paddle has, to the bit: %s', async name => {
    await using file = await openPaddle(join(folder, `${name}.pdparams`))
    await expectTensors(file, report.read[name]!, readFileSync(join(folder, `${name}.expected`)))
    if (name.startsWith('nested')) expect(file.metadata.get('epoch')).toBe('3')
  })

  it('are none of whole models, and none of protocol 5: Paddle does not save them', () => {
    expect(report.refused).toEqual({
      layer: expect.stringContaining('do not support saving `paddle.nn.Layer`'),
      protocol5: expect.stringContaining("Expected 1<'protocol'<5"),
    })
  })

  const [invalid, mismatch] = ['CHECKPOINT_INVALID', 'CHECKPOINT_MISMATCH']
  const saveState = "paddle.save(model.state_dict(), 'model.pdparams')"
  it.each([
    ['layer.pdparams', invalid, 'it is empty', ''], // which Paddle leaves behind
    ['pickled-layer.pdparams', invalid, 'paddle.nn.layer.container.Sequential', saveState],
    ['program.json', invalid, 'a PaddlePaddle program', saveState],
    ['static.json', invalid, 'a PaddlePaddle program', 'paddle2onnx'],
    ['static-inference.json', invalid, 'a PaddlePaddle program', 'paddle2onnx'],
    ['older.pdmodel', invalid, 'a PaddlePaddle program', 'paddle2onnx'],
    ['older-inference.pdmodel', invalid, 'a PaddlePaddle program', 'paddle2onnx'],
    ['program.pdiparams', invalid, 'unnamed parameters: those of a PaddlePaddle program', saveState],
    ['static-inference.pdiparams', invalid, 'unnamed parameters: those of a PaddlePaddle program', saveState],
    [
      'older-inference.pdiparams',
      invalid,
      'unnamed parameters: those of a PaddlePaddle program',
      'paddle2onnx',
    ],
    ['binary', invalid, 'saved with use_binary_format', saveState],
    ['sgd.pdopt', invalid, 'the state of an optimizer', '.pdparams file next to it'],
    ...[
      'momentum',
      'adam',
      'adamw',
      'rmsprop',
      'adagrad',
      'adadelta',
      'adamax',
      'lamb',
      'static',
      'older',
    ].map(
      name =>
        [
          `${name}.pdopt`,
          mismatch,
          'the state of a PaddlePaddle optimizer',
          '.pdparams file next to it',
        ] as const,
    ),
    ['static.pdparams', mismatch, 'the names that PaddlePaddle makes up', saveState],
    ['older.pdparams', mismatch, 'the names that PaddlePaddle makes up', saveState],
  ] as const)('are called by name where they hold no network: %s', async (file, code, what, remedy) => {
    const error = await openModel(join(folder, file)).catch((error: unknown) => error as Error)
    expect(error).toMatchObject({ name: 'ResidualError', code })
    expect(error).toMatchObject({ message: expect.stringContaining(what) })
    expect(error).toMatchObject({ message: expect.stringContaining(remedy) })
  })
})
