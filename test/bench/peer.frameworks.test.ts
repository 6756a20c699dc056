// What bench/peer.py makes of an engine's answers, and how it configures OpenVINO.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { networkToOnnx } from '../../lib/export/onnx.ts'
import { inputShape } from '../../lib/model/plan.ts'
import { reducedKernels } from '../../lib/runtime/native.ts'
import { runPython } from '../support/python.ts'
import { tinyNetwork, tinyPlan, tinyWeights } from '../support/tiny.ts'

const bench = join(packageRoot, 'bench')
const { height, width, channels } = inputShape(tinyPlan)
const threadCounts = [1, 2].filter(threads => threads <= availableParallelism())

let folder: string
let onnx: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'residual-peer-test-'))
  onnx = join(folder, 'tiny.onnx')
  await writeFile(onnx, await networkToOnnx(tinyNetwork, tinyWeights, inputShape(tinyPlan)))
})
afterAll(() => rm(folder, { recursive: true }))

/** What a script prints as JSON that has `bench` in its path; `arguments` are what follows in `sys.argv`. */
const printed = (script: string, ...args: readonly string[]) =>
  JSON.parse(runPython(`import json, sys\nsys.path.insert(0, sys.argv[1])\n${script}`, bench, ...args))

describe('peer.py', () => {
  /** Serves an engine that computes two batches at a time, in a second by its clock, and prints the answers. */
  const served = (second: string) =>
    printed(
      `
import io, numpy, peer
class Engine:
    def prepare(self, images, once): self.images = images
    def feed(self, images): self.fed = images
    def run(self): return [numpy.array([1.0, 2.0]), numpy.array(${second})]
clock = iter([10.0, 11.0])
peer.time.perf_counter = lambda: next(clock)
numpy.ones(12, numpy.float32).tofile(sys.argv[2])
questions = [{"images": sys.argv[2], "dims": [1, 2, 2, 3]}, {"run": True}]
sys.stdin = io.StringIO("\\n".join(json.dumps(question) for question in questions))
answers = []
peer.answer = answers.append
try:
    peer.serve(Engine())
except RuntimeError as error:
    answers.append(str(error))
print(json.dumps(answers))
`,
      join(folder, 'images.f32'),
    )

  it('gives the time of one batch if several are computed at once', () => {
    expect(served('[1.0, 2.0]')).toEqual([{ logits: [1, 2] }, { milliseconds: 500 }])
  })

  it('answers for other images, and then times those that were prepared', () => {
    const answers = printed(
      `
import io, numpy, peer
class Engine:
    def prepare(self, images, once): self.feed(images)
    def feed(self, images): self.images = images
    def run(self): return [self.images.sum(axis=(1, 2, 3))]
numpy.ones(12, numpy.float32).tofile(sys.argv[2])
numpy.full(12, 2, numpy.float32).tofile(sys.argv[3])
dims = [1, 2, 2, 3]
questions = [{"images": sys.argv[2], "dims": dims}, {"others": sys.argv[3], "dims": dims}]
sys.stdin = io.StringIO("\\n".join(json.dumps(question) for question in questions))
answers = []
peer.answer = answers.append
engine = Engine()
peer.serve(engine)
print(json.dumps([*answers, engine.run()[0].tolist()]))
`,
      join(folder, 'images.f32'),
      join(folder, 'others.f32'),
    )
    expect(answers).toEqual([{ logits: [12] }, { logits: [24] }, [12]])
  })

  it.each(['[1.0, 2.1]', '[1.0, float("nan")]'])('refuses batches that differ: %s', second => {
    expect(served(second)).toEqual([
      'Batches of the same images have different logits when computed at the same time.',
    ])
  })
})

describe('OpenVINO', () => {
  const compiled = (engine: string, threads: number, once = 'False', precision = 'fp32') =>
    printed(
      `
import numpy
from peers import openvino as peer
engine = getattr(peer, sys.argv[2])(sys.argv[3], int(sys.argv[4]), sys.argv[5], None)
try:
    engine.prepare(numpy.ones((2, ${height}, ${width}, ${channels}), numpy.float32), once=${once})
except RuntimeError as error:
    print(json.dumps({"error": str(error)}))
else:
    model = engine.compiled
    print(json.dumps({
        "hint": str(model.get_property(peer.hint.performance_mode)),
        "threads": model.get_property(peer.properties.inference_num_threads),
        "precision": model.get_property(peer.hint.inference_precision).get_type_name(),
        "pinned": model.get_property(peer.hint.enable_cpu_pinning),
        "requests": len(engine.requests),
        "streams": model.get_property(peer.properties.num_streams),
        "recommended": model.get_property(peer.properties.optimal_number_of_infer_requests),
        "logits": [logits.shape for logits in engine.run()],
        "outputs": len(model.outputs),
    }))
`,
      engine,
      onnx,
      String(threads),
      precision,
    )
  const inFloat32 = { precision: 'f32', pinned: false, outputs: 1 }

  it.each(threadCounts)('runs one batch at a time by the latency hint, on threads: %i', threads => {
    expect(compiled('OpenVINOLatency', threads)).toMatchObject({
      ...inFloat32,
      hint: 'LATENCY',
      threads,
      requests: 1,
      streams: 1,
      logits: [[2, 4]],
    })
  })

  it.each(threadCounts)(
    'has as many requests in flight as it recommends by the throughput hint, on threads: %i',
    threads => {
      const { recommended, requests, logits, ...rest } = compiled('OpenVINOThroughput', threads)
      expect(rest).toMatchObject({ ...inFloat32, hint: 'THROUGHPUT', threads })
      expect(requests).toBe(recommended)
      expect(logits).toHaveLength(requests)
      expect(requests).toBeGreaterThanOrEqual(1)
      if (threads === 2) expect(requests).toBe(2) // a small network: a thread for each
    },
  )

  it('computes in bf16 on request, where it has it', () => {
    const { precision } = compiled('OpenVINOLatency', 1, 'False', 'bf16')
    expect(precision).toBe(reducedKernels().bf16 === null ? 'f32' : 'bf16')
  })

  it('runs one request if it must run once', () => {
    expect(compiled('OpenVINOThroughput', threadCounts.at(-1)!, 'True')).toMatchObject({
      requests: 1,
      logits: [[2, 4]],
    })
  })

  it('fails if it would use fewer threads than the others', () => {
    expect(compiled('OpenVINOLatency', 100_000).error).toMatch(
      /^OpenVINO uses \d+ threads here, not the 100000 requested\.$/,
    )
  })
})
