// Runs pip to fetch wheels: it downloads them and checks their hashes; Python unpacks them. Failures are reported in one line.
import { spawnSync } from 'node:child_process'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** @typedef {import('./wheels.mjs').Wheel} Wheel */

const python = process.env.RESIDUAL_PYTHON ?? 'python3'

// zipfile checks every file's checksum, but drops the executable bits.
const unpack = `
import json, os, sys, zipfile
files = {}
for wheel in sys.argv[2:]:
    with zipfile.ZipFile(wheel) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        for entry in entries:
            path = archive.extract(entry, sys.argv[1])
            if entry.external_attr >> 16 & 0o100:
                os.chmod(path, 0o755)
    name = os.path.basename(wheel).split("-")[0].replace("_", "-").lower()
    files[name] = [entry.filename for entry in entries]
    os.remove(wheel)
print(json.dumps(files))
`

/**
 * Downloads wheels to `staging` and unpacks them to `folder`.
 *
 * @param {readonly Wheel[]} wheels
 * @param {string} staging
 * @param {string} folder
 * @returns {{ [name: string]: string[] }} the files of each wheel
 */
export function downloadAndUnpack(wheels, staging, folder) {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch))
    throw new Error(
      `NVIDIA has wheels for Linux on x86-64 and AArch64, not for ${process.platform} on ${process.arch}.`,
    )
  const requirements = join(staging, 'requirements.txt')
  const line = ({ name, version, sha256 }) =>
    `${name}==${version} ${sha256.map(digits => `--hash=sha256:${digits}`).join(' ')}\n`
  writeFileSync(requirements, wheels.map(line).join(''))
  // pip's temporary files go to the same disk as everything else.
  const env = { ...process.env, TMPDIR: staging }
  const pip = ['-m', 'pip', 'download', '--disable-pip-version-check', '--no-input', '--no-deps']
  const options = ['--only-binary', ':all:', '--require-hashes', '--dest', staging, '-r', requirements]
  run([...pip, ...options], { env, stdio: ['ignore', 2, 'pipe'] })
  const archives = readdirSync(staging).filter(name => name.endsWith('.whl'))
  const files = JSON.parse(run(['-c', unpack, folder, ...archives.map(name => join(staging, name))], { env }))
  for (const { name } of wheels) if (!files[name]) throw new Error(`pip did not download ${name}.`)
  return files
}

function run(args, options) {
  const { status, stdout, stderr, error } = spawnSync(python, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    ...options,
  })
  if (error) throw error
  if (status !== 0) throw new Error(stderr)
  return stdout
}

const causes = [
  [
    /spawn(Sync)? .*ENOENT/,
    `There is no ${python}: install Python 3 with pip (Debian: apt-get install python3-pip).`,
  ],
  [/No module named '?pip\b/, `${python} has no pip: install it (Debian: apt-get install python3-pip).`],
  [/ENOSPC|EDQUOT|Errno 28\b|No space left/, 'The disk that holds FOLDER is full: free 4 GB.'],
  [/EACCES|EROFS|Permission denied|Read-only file system/, 'FOLDER is not writable: change its permissions.'],
  [
    /DO NOT MATCH THE HASHES/,
    "A file is not the one that scripts/cuda/wheels.mjs pins: run `pip cache purge` and try again; if that does not help, the package index serves files that are not NVIDIA's.",
  ],
  [
    /establish a new connection|name resolution|timed out|Max retries|ProxyError|SSLError|Connection(Error| refused| reset)|Network is unreachable/i,
    'pip cannot reach a package index: check the network, HTTPS_PROXY and PIP_INDEX_URL, and try again.',
  ],
  [
    /No matching distribution|Could not find a version|not a supported wheel/,
    'The package index has no such wheel for this machine: it needs pip 20.3 and glibc 2.27 or later.',
  ],
]

/**
 * An error with a one-line message: what went wrong, whether Node, Python or pip reported it, and what to do.
 *
 * @param {Error} error
 * @param {string} folder
 * @returns {Error}
 */
export function explain(error, folder) {
  const cause = causes.find(([pattern]) => pattern.test(error.message))
  const last = error.message.trim().split('\n').at(-1)
  const text = cause ? cause[1].replace('FOLDER', folder) : last
  return new Error(
    `${text} Or install the CUDA 13 toolkit and cuDNN yourself, and set CUDA_HOME and CUDNN_ROOT.`,
    { cause: error },
  )
}
