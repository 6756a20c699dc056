// Runs a benchmark as if the CPU lacked some of its instructions, by making CPUID say so to every engine.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../lib/base/package-root.ts'
import { loadNative, reducedKernels } from '../lib/runtime/native.ts'

/** What can be hidden: each hides what those before it hide, too. */
export const hideable = ['amx', 'avx512', 'vnni'] as const
export type Hidden = (typeof hideable)[number]

const names: { readonly [hidden in Hidden]: string } = {
  amx: 'AMX',
  avx512: 'AVX-512',
  vnni: 'AVX-512 and AVX-VNNI',
}

/** Instruction sets of residual's kernels that are gone then. */
export const goneWith: { readonly [hidden in Hidden]: readonly string[] } = {
  amx: ['amx'],
  avx512: ['amx', 'avx512vnni', 'avx512bf16', 'avx512'],
  vnni: ['amx', 'avx512vnni', 'avx512bf16', 'avx512', 'avxvnni'],
}

/**
 * Settings of the engines that have any, for machines where CPUID cannot fault. oneDNN is PyTorch's and TensorFlow's; ATen is
 * PyTorch's own.
 */
const settings: { readonly [hidden in Hidden]: { readonly [variable: string]: string } } = {
  amx: { ONEDNN_MAX_CPU_ISA: 'AVX512_CORE_FP16' },
  avx512: { ONEDNN_MAX_CPU_ISA: 'AVX2_VNNI_2', ATEN_CPU_CAPABILITY: 'avx2' },
  vnni: { ONEDNN_MAX_CPU_ISA: 'AVX2', ATEN_CPU_CAPABILITY: 'avx2' },
}

/** The kernels that residual may use then, best first. */
const leftWith: { readonly [hidden in Hidden]: readonly string[] } = {
  amx: ['avx512vnni', 'avx512', 'avxvnni', 'avx2', 'baseline'],
  avx512: ['avxvnni', 'avx2', 'baseline'],
  vnni: ['avx2', 'baseline'],
}

const library = join(packageRoot, 'build', 'hide_features.so')

/**
 * What is to be said in a report of this process, if {@link runHiding} started it; else undefined.
 *
 * @throws Error if it did and residual still detects what is hidden
 */
export function hiddenHere(hidden: Hidden): string | undefined {
  const { RESIDUAL_HIDE, LD_PRELOAD, RESIDUAL_CPU_ISA } = process.env
  if (RESIDUAL_HIDE !== hidden) return undefined
  const byCpuid = LD_PRELOAD?.split(':').includes(library)
  if (byCpuid && kernelsHere().some(isa => goneWith[hidden].includes(isa)))
    throw new Error(`${names[hidden]} could not be hidden: it is still detected.`)
  return byCpuid
    ? `${names[hidden]} hidden`
    : `${names[hidden]} hidden only from residual (${RESIDUAL_CPU_ISA}), PyTorch and TensorFlow, by their settings: this CPU ` +
        'cannot hide it from the others'
}

/**
 * Runs this program with the same arguments in a process that does not detect these instructions, nor do its children; returns
 * its exit code. Where CPUID cannot fault, engines with a setting for that are told not to use them.
 *
 * @throws Error if there is no C compiler
 */
export function runHiding(hidden: Hidden): number {
  const environment = canFault() ? preloaded() : withSettings(hidden)
  const { status } = spawnSync(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, RESIDUAL_HIDE: hidden, ...environment },
  })
  return status ?? 1
}

/** The instruction sets of all kernels that residual may use here. */
export function kernelsHere(): string[] {
  const { bf16, int8 } = reducedKernels()
  return [...loadNative().capabilities(), bf16, int8].filter(isa => isa !== null)
}

/** Whether the kernel can make CPUID fault on this CPU. */
export function canFault(): boolean {
  return process.platform === 'linux' && / cpuid_fault /.test(readFileSync('/proc/cpuinfo', 'utf8'))
}

function preloaded(): NodeJS.ProcessEnv {
  mkdirSync(join(packageRoot, 'build'), { recursive: true })
  const source = join(packageRoot, 'bench', 'hide_features.c')
  execFileSync(process.env.CC ?? 'cc', ['-O2', '-shared', '-fPIC', '-o', library, source, '-ldl'], {
    stdio: 'inherit',
  })
  return { LD_PRELOAD: [library, process.env.LD_PRELOAD].filter(Boolean).join(':') }
}

/** The environment in which engines that have a setting for it do without these instructions. */
export function withSettings(hidden: Hidden): NodeJS.ProcessEnv {
  const isa = leftWith[hidden].find(isHere)
  return { ...settings[hidden], ...(isa !== undefined && { RESIDUAL_CPU_ISA: isa }) }
}

/** Whether this machine has an instruction set. */
function isHere(isa: string): boolean {
  try {
    loadNative().reducedKernels!(isa)
    return true
  } catch {
    return false
  }
}
