// A benchmark report, for tests of what is derived from one.
import type { Case, Result } from '../../lib/benchmark/benchmark.ts'
import type { Report } from '../../lib/benchmark/report.ts'

const evenly = (median: number) => ({ low: median, median, high: median })

function result(engine: string, ms: number, ratio: number | null): Result {
  return {
    engine,
    precision: 'fp32',
    times: [ms, ms],
    milliseconds: evenly(ms),
    imagesPerSecond: 1000 / ms,
    ratio: ratio === null ? null : evenly(ratio),
    gflops: 1000 / ms,
    peakShare: 10 / ms,
    agreement: 1,
    difference: 2e-6,
    startMs: null,
    peakBytes: null,
  }
}

export function sampleCase(network: string, noise: readonly string[] = []): Case {
  return {
    network,
    threads: 2,
    batch: 8,
    precision: 'fp32',
    gflop: 1,
    peak: { before: 95, after: 100 },
    results: [result('residual', 20, null), result('onnxruntime', 25, 1.25)],
    failures: [],
    noise,
  }
}

export function sampleReport(cases: readonly Case[]): Report {
  return {
    date: '2026-01-02T03:04:05.000Z',
    machine: { cpu: 'A <fast> & small CPU', threads: 2, memoryBytes: 2 ** 33, system: 'linux', node: 'v20' },
    isa: 'avx2',
    kernels: {},
    versions: { residual: '1.0.0', onnxruntime: '1.30.0' },
    cases,
    opCases: [],
  }
}
