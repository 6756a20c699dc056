import { describe, expect, it } from 'vitest'
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
      'residual',
      '20.0 (20.0-20.0)',
      '50.0',
      '50',
      '50 %',
    ])
    expect(line('onnxruntime').trim().split(/ {2,}/)).toEqual([
      'onnxruntime',
      '25.0 (25.0-25.0)',
      '40.0',
      '1.25 (1.25-1.25)',
      '40',
      '40 %',
    ])
    expect(text).not.toContain('NOISY')
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
