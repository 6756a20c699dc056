// Runs a benchmark as if the CPU had no AVX-512, by making CPUID say so to every engine.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../lib/base/package-root.ts'
import { cpuInstructionSet } from '../lib/runtime/native.ts'

const library = join(packageRoot, 'build', 'hide_avx512.so')

/**
 * Whether {@link runAgainWithoutAvx512} started this process.
 *
 * @throws Error if it did and AVX-512 is still detected
 */
export function avx512IsHidden(): boolean {
  if (!process.env.LD_PRELOAD?.split(':').includes(library)) return false
  if (cpuInstructionSet() === 'avx512') throw new Error('AVX-512 could not be hidden: it is still detected.')
  return true
}

/**
 * Runs this program with the same arguments in a process that does not detect AVX-512, nor do its children; returns its exit code.
 *
 * @throws Error if there is no C compiler
 */
export function runAgainWithoutAvx512(): number {
  mkdirSync(join(packageRoot, 'build'), { recursive: true })
  const source = join(packageRoot, 'bench', 'hide_avx512.c')
  execFileSync(process.env.CC ?? 'cc', ['-O2', '-shared', '-fPIC', '-o', library, source, '-ldl'], {
    stdio: 'inherit',
  })
  const preloaded = [library, process.env.LD_PRELOAD].filter(Boolean).join(':')
  const { status } = spawnSync(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, LD_PRELOAD: preloaded },
  })
  return status ?? 1
}
