// A python3 whose pip delivers small wheels made here instead of NVIDIA's; test/scripts puts it on the PATH. FAKE_PIP chooses how
// pip fares; FAKE_PIP_LOG is a file that gets a line for each wheel requested.
import { spawnSync } from 'node:child_process'
import { appendFileSync, createWriteStream, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { ZipFile } from 'yazl'

const args = process.argv.slice(2)
const { FAKE_PIP = 'fine', FAKE_PIP_LOG, REAL_PYTHON } = process.env
if (args[0] !== '-m' || args[1] !== 'pip') {
  const { status } = spawnSync(REAL_PYTHON, args, { stdio: 'inherit' })
  process.exit(status ?? 1)
}

/** What pip says on stderr, and with which it ends. */
const failures = {
  absent: '/usr/bin/python3: No module named pip',
  offline: `WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('Failed to establish a new connection')'
ERROR: Could not find a version that satisfies the requirement nvidia-cuda-nvrtc==13.0.88
ERROR: No matching distribution found for nvidia-cuda-nvrtc==13.0.88`,
  unknown: 'ERROR: No matching distribution found for nvidia-cuda-nvrtc==13.0.88',
  altered:
    'ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n  Expected sha256 1\n  Got 2',
  full: 'ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device',
}
if (failures[FAKE_PIP]) {
  console.error(failures[FAKE_PIP])
  process.exit(1)
}

const nvcc = `#!/bin/sh
case "$*" in
  --version) echo 'Cuda compilation tools, release 13.0, V13.0.88' ;;
  --dryrun*) echo "#\\$ INCLUDES=\\"-I$(dirname "$0")/../include\\"" >&2 ;;
esac
`
/** By the name of a wheel, files: paths, contents, modes. */
const contents = {
  'nvidia-cuda-nvcc': [['nvidia/cu13/bin/nvcc', nvcc, 0o755]],
  'nvidia-nvvm': [['nvidia/cu13/nvvm/bin/cicc', 'cicc', 0o755]],
  'nvidia-cuda-runtime': [
    ['nvidia/cu13/include/cuda_runtime_api.h', 'header', 0o644],
    ['nvidia/cu13/lib/libcudart.so.13', 'library', 0o644],
  ],
  'nvidia-cudnn-cu13': [
    ['nvidia/cudnn/lib/libcudnn.so.9', 'library', 0o644],
    ['nvidia/cudnn/include/cudnn_graph.h', 'header', 0o644],
  ],
}

const after = option => args[args.indexOf(option) + 1]
for (const flag of ['--require-hashes', '--no-deps', '--only-binary'])
  if (!args.includes(flag)) throw new Error(`pip was called without ${flag}`)
for (const line of readFileSync(after('-r'), 'utf8').trim().split('\n')) {
  const [, name, version] = /^(\S+)==(\S+)( --hash=sha256:[0-9a-f]{64}){2}$/.exec(line)
  if (FAKE_PIP_LOG) appendFileSync(FAKE_PIP_LOG, `${name} ${version}\n`)
  const zip = new ZipFile()
  for (const [path, text, mode] of contents[name] ?? [])
    zip.addBuffer(Buffer.from(`${text}`), path, { mode: 0o100000 | mode })
  zip.addBuffer(Buffer.from(`${name} ${version}`), `${name}-${version}.dist-info/METADATA`)
  zip.end()
  const wheel = `${name.replaceAll('-', '_')}-${version}-py3-none-manylinux_2_27_x86_64.whl`
  await pipeline(zip.outputStream, createWriteStream(join(after('--dest'), wheel)))
}
// Killed half-way: some wheels are there, and no one unpacks them.
if (FAKE_PIP === 'killed' && existsSync(after('--dest'))) process.kill(process.ppid, 'SIGKILL')
