import { describe, expect, it } from 'vitest'
import type { Result } from '../../lib/benchmark/benchmark.ts'
import { caseText, reportText } from '../../lib/benchmark/report.ts'
import { sampleCase, sampleReport } from '../support/report.ts'

describe('the report', () => {
  it('has a line for each engine, with time, speed, ratio and share of the peak', () => {
    const text = reportText(sampleReport([sampleCase('resnet50')]))
    const line = (engine: string) => text.split('\n').find(row => row.includes(` ${engine}  `))!
    expect(line('residual').trim().split(/ {2,}/)).toEqual([
      'resnet50',
      '2',
      '8',
      'fp32',
      'residual',
      '20.0 (20.0-20.0)',
      '50.0',
      '50',
      '50 %',
      '100.0 %',
      '2e-6',
    ])
    expect(line('onnxruntime').trim().split(/ {2,}/)).toEqual([
      'onnxruntime',
      '25.0 (25.0-25.0)',
      '40.0',
      '1.25 (1.25-1.25)',
      '40',
      '40 %',
      '100.0 %',
      '2e-6',
    ])
    expect(text).not.toContain('NOISY')
  })

  it('has the precision of each case, what residual does in fp32 beside it, and how often engines agree with that', () => {
    const { results, ...rest } = sampleCase('resnet50')
    const [ours, theirs] = results as [Result, Result]
    const reduced = { precision: 'int8', agreement: 0.96875, difference: 0.012 } as const
    const note = 'Computed by candlelight.'
    const int8 = {
      ...rest,
      precision: 'int8' as const,
      results: [
        { ...ours, ...reduced, note },
        { ...theirs, engine: 'residual fp32', peakShare: null },
        { ...theirs, ...reduced, agreement: 0.5 },
      ],
    }
    const report = { ...sampleReport([int8, int8]), kernels: { int8: 'avxvnni' } }
    const text = reportText(report)
    const rows = text.split('\n').filter(row => row.includes(' 25.0 (25.0-25.0)') || row.includes('20.0 ('))
    const cells = rows.slice(0, 3).map(row => row.trim().split(/ {2,}/))
    expect(cells[0]).toEqual(expect.arrayContaining(['int8', '96.9 %', '1e-2']))
    expect(cells[1]).toEqual([
      'residual fp32',
      '25.0 (25.0-25.0)',
      '40.0',
      '1.25 (1.25-1.25)',
      '40',
      '100.0 %',
      '2e-6',
    ])
    expect(cells[2]).toContain('50.0 %')
    expect(text.split(note)).toHaveLength(2) // once for all
    expect(text).toContain('avx2, int8 avxvnni,')
    expect(caseText(int8)).toMatch(/^resnet50, 2 threads, batch 8, int8: /)
  })

  it('says which numbers cannot be trusted, and why', () => {
    const text = reportText(
      sampleReport([sampleCase('resnet50', ['a cat on the keyboard']), sampleCase('resnet101')]),
    )
    expect(text).toMatch(/^NOISY: .* during 1 of 2 measurements/m)
    expect(text).toMatch(/^ {2}resnet50, 2 threads, batch 8: a cat on the keyboard$/m)
  })

  it('says which engines failed where, and why', () => {
    const failures = [{ engine: 'pytorch', reason: 'ended with 1:\nNo memory' }]
    const failed = { ...sampleCase('resnet50'), failures }
    expect(reportText(sampleReport([failed, sampleCase('resnet101')]))).toMatch(
      /\n\nFAILED.*:\n {2}resnet50, 2 threads, batch 8, pytorch: ended with 1:\n {4}No memory$/,
    )
    expect(caseText(failed)).toMatch(/times as long, pytorch failed$/)
  })
})
