// The Python engines to compare with, each in a process that answers on its standard output.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { packageRoot } from '../lib/base/package-root.ts'
import type { Engine, Images, OpenEngine, Subject } from '../lib/benchmark/engine.ts'

/** The format each engine reads. */
const fileKinds = {
  pytorch: 'safetensors',
  opencv: 'onnx',
  tensorflow: 'safetensors',
  'openvino-latency': 'onnx',
  'openvino-throughput': 'onnx',
} as const
type PythonEngineName = keyof typeof fileKinds

export const pythonEngineNames = Object.keys(fileKinds) as readonly PythonEngineName[]

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
  const argumentsFor = async (mode: string, subject: Subject, threads: number) => {
    const file = await subject[fileKinds[name]]()
    const { graph, outputs } = subject.network
    const network = { layers: graph.layers, logits: outputs.logits.id }
    return [script, mode, name, file, String(threads), JSON.stringify(network)]
  }
  return {
    name,
    version,
    open: async (subject, threads) => openPeer(python, name, await argumentsFor('serve', subject, threads)),
    startCommand: async (subject, dims, threads) => [
      python,
      ...(await argumentsFor('start', subject, threads)),
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
  return {
    async prepare({ data, dims }: Images) {
      const folder = await mkdtemp(join(tmpdir(), 'residual-peer-'))
      try {
        const images = join(folder, 'images.f32')
        await writeFile(images, data)
        return Float32Array.from((await ask({ images, dims })).logits!)
      } finally {
        await rm(folder, { recursive: true })
      }
    },
    run: async () => (await ask({ run: true })).milliseconds!,
    async close() {
      child.stdin.end()
      await ended
    },
  }
}
