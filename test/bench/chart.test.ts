import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { pythonEngineNames } from '../../bench/python.ts'
import { chartSvg } from '../../lib/benchmark/chart.ts'
import { sampleCase, sampleReport } from '../support/report.ts'

const barsOf = (svg: string) =>
  [...svg.matchAll(/<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"/g)].map(([, x, y, width]) => ({
    right: Number(x) + Number(width),
    y: Number(y),
    width: Number(width),
  }))

describe('the chart', () => {
  it('is an image whose size grows with the cases', async () => {
    const [one, two] = await Promise.all(
      [['a'], ['a', 'b']].map(names =>
        sharp(Buffer.from(chartSvg(sampleReport(names.map(name => sampleCase(name)))))).metadata(),
      ),
    )
    expect(one).toMatchObject({ format: 'svg', width: 900 })
    expect(two!.height).toBeGreaterThan(one!.height!)
  })

  it('has bars as long as the speeds, each labelled with its ratio', () => {
    const svg = chartSvg(sampleReport([sampleCase('resnet50')]))
    const [ours, theirs] = barsOf(svg)
    expect(ours!.width / theirs!.width).toBeCloseTo(50 / 40, 2)
    expect(svg).toContain('>residual 20.0 ms<')
    expect(svg).toContain('>onnxruntime 25.0 ms, ratio 1.25<')
  })

  it('says of cases in fewer bits how often engines agree with fp32', () => {
    const { results, ...rest } = sampleCase('resnet50')
    const reduced = results.map(result => ({ ...result, precision: 'int8' as const, agreement: 0.965 }))
    const svg = chartSvg(sampleReport([{ ...rest, precision: 'int8', results: reduced }]))
    expect(svg).toContain('>2 threads, batch 8, int8<')
    expect(svg).toContain('>onnxruntime 25.0 ms, ratio 1.25, 97 %<')
    expect(svg).toContain('>Percent, in fewer bits')
    expect(chartSvg(sampleReport([sampleCase('resnet50')]))).not.toContain('Percent')
  })

  it('draws the peak at its place on the axis, and nothing outside the image', () => {
    const svg = chartSvg(sampleReport([sampleCase('resnet50')]))
    const ticks = [...svg.matchAll(/<text x="([\d.]+)" y="[\d.]+" text-anchor="middle"[^>]*>(\d+)</g)]
    const [zero, last] = [ticks[0]!, ticks.at(-1)!].map(([, x, value]) => ({
      x: Number(x),
      value: Number(value),
    }))
    const peak = /<line x1="([\d.]+)"[^>]*stroke-dasharray/.exec(svg)!
    expect((Number(peak[1]) - zero!.x) / (last!.x - zero!.x)).toBeCloseTo(100 / last!.value, 2)
    for (const { right } of barsOf(svg)) expect(right).toBeLessThanOrEqual(last!.x)
  })

  it('has a colour for each engine and a heading that fits, with all engines', () => {
    const names = ['residual', 'onnxruntime', ...pythonEngineNames]
    const { results, ...rest } = sampleCase('resnet50')
    const all = { ...rest, results: names.map(engine => ({ ...results[1]!, engine })) }
    const versions = Object.fromEntries(names.map(name => [name, '2026.4.1']))
    const svg = chartSvg({ ...sampleReport([all]), versions })
    const colours = [...svg.matchAll(/height="14" fill="(#[0-9a-f]+)"/g)].map(([, colour]) => colour)
    expect(colours).toHaveLength(names.length)
    expect(new Set(colours).size).toBe(names.length)
    for (const [, line] of svg.matchAll(/<text x="20.0" y="[\d.]+" fill[^>]*>([^<]+)</g))
      expect(line!.length).toBeLessThanOrEqual(110)
    for (const name of names) expect(svg).toContain(`${name} 2026.4.1`)
  })

  it('marks noisy cases, and stays well-formed with any names', async () => {
    const svg = chartSvg(
      sampleReport([sampleCase('<b>&"a model with a name that is far too long', ['noise'])]),
    )
    expect(svg).toContain('2 threads, batch 8, noisy')
    expect(svg).toContain('&lt;b&gt;&amp;')
    await expect(sharp(Buffer.from(svg)).png().toBuffer()).resolves.toBeDefined() // a parser has read it
    await expect(
      sharp(Buffer.from(svg.replace('&amp;', '&')))
        .png()
        .toBuffer(),
    ).rejects.toThrow() // and would complain
  })
})
