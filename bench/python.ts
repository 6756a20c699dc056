// The Python engines to compare with, each in a process that answers on its standard output.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { packageRoot } from '../lib/base/package-root.ts'
import type {
  BenchPrecision,
  Engine,
  Images,
  OpenEngine,
  RunSettings,
  Subject,
} from '../lib/benchmark/engine.ts'

interface PythonEngine {
  /** The format it reads. */
  readonly file: 'safetensors' | 'onnx'
  readonly precisions: readonly BenchPrecision[]
  /** It quantizes the network itself, with some images, instead of reading a quantized one. */
  readonly quantizes?: true
}

const pythonEngines = {
  pytorch: { file: 'safetensors', precisions: ['fp32', 'bf16', 'int8'], quantizes: true },
  opencv: { file: 'onnx', precisions: ['fp32'] },
  tensorflow: { file: 'safetensors', precisions: ['fp32'] },
  'openvino-latency': { file: 'onnx', precisions: ['fp32', 'bf16', 'int8'] },
  'openvino-throughput': { file: 'onnx', precisions: ['fp32', 'bf16', 'int8'] },
} as const satisfies { readonly [name: string]: PythonEngine }
type PythonEngineName = keyof typeof pythonEngines

export const pythonEngineNames = Object.keys(pythonEngines) as readonly PythonEngineName[]

const script = join(packageRoot, 'bench', 'peer.py')

/** The engines found among `names`, and lines about each: its version, or why it is missing. */
export async function findPythonEngines(
  python: string,
  names = pythonEngineNames,
): Promise<{ readonly engines: readonly Engine[]; readonly report: readonly string[] }> {
  const engines: Engine[] = []
  const report: string[] = []
  for (const name of names) {
    try {
      const { stdout } = await promisify(execFile)(python, [script, 'version', name])
      engines.push(pythonEngine(python, name, stdout.trim()))
      report.push(`${name}: ${stdout.trim()}, of ${python}`)
    } catch (error) {
      const { code, stderr } = error as { code?: unknown; stderr?: string }
      const reason = stderr?.trim().split('\n').at(-1) || String(code)
      report.push(`${name}: not found with ${python} (${reason}); give another one with --python`)
    }
  }
  return { engines, report }
}

function pythonEngine(python: string, name: PythonEngineName, version: string): Engine {
  const kind: PythonEngine = pythonEngines[name]
  const argumentsFor = async (mode: string, subject: Subject, { threads, precision }: RunSettings) => {
    const file = await (kind.file === 'onnx' ? (await subject.in(precision)).onnx() : subject.safetensors())
    const { graph, outputs } = subject.network
    const network = {
      layers: graph.layers,
      logits: outputs.logits.id,
      ...(kind.quantizes && precision === 'int8' && { samples: await subject.calibration() }),
    }
    return [script, mode, name, file, String(threads), precision, JSON.stringify(network)]
  }
  return {
    name,
    version,
    precisions: kind.precisions,
    open: async (subject, settings) => openPeer(python, name, await argumentsFor('serve', subject, settings)),
    startCommand: async (subject, dims, settings) => [
      python,
      ...(await argumentsFor('start', subject, settings)),
      dims.join(','),
    ],
  }
}

/** What peer.py answers. */
interface Answer {
  readonly logits?: readonly number[]
  readonly milliseconds?: number
}

async function openPeer(python: string, name: string, args: readonly string[]): Promise<OpenEngine> {
  const child = spawn(python, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  let complaints = ''
  child.stderr.setEncoding('utf8').on('data', text => {
    complaints = (complaints + text).slice(-4000)
  })
  child.stdin.on('error', () => {}) // it has ended, which the answer that never comes tells
  const ended = once(child, 'close')
  ended.catch(() => {}) // rejections surface where the engine is used or closed
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const ask = async (question: object): Promise<Answer> => {
    child.stdin.write(`${JSON.stringify(question)}\n`)
    const { value, done } = await lines.next()
    if (done) throw new Error(`${name} ended with ${(await ended)[0]}: ${complaints.trim()}`)
    return JSON.parse(value)
  }
  const logitsOf = async (question: 'images' | 'others', { data, dims }: Images) => {
    const folder = await mkdtemp(join(tmpdir(), 'residual-peer-'))
    try {
      const file = join(folder, 'images.f32')
      await writeFile(file, data)
      return Float32Array.from((await ask({ [question]: file, dims })).logits!)
    } finally {
      await rm(folder, { recursive: true })
    }
  }
  return {
    prepare: images => logitsOf('images', images),
    logits: images => logitsOf('others', images),
    run: async () => (await ask({ run: true })).milliseconds!,
    async close() {
      child.stdin.end()
      await ended
    },
  }
}
