// Finds which of several files the dynamic linker opens for a library, and the version cuDNN reports there. A small C++ program
// asks: a name may stand for a file anywhere, and the headers do not say which CUDA a library was made for.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * @typedef {object} OpenedLibrary
 * @property {string} path as given
 * @property {string} version of cuDNN, as in '9.12.0'; '0.0.0' for another library
 * @property {number} cuda major version of the CUDA that cuDNN was made for
 */

const source = `
#include <dlfcn.h>
#include <cstdio>
int main(int, char** paths) {
  while (*++paths) {
    void* library = dlopen(*paths, RTLD_NOW);
    if (!library) continue;
    auto ask = [&](const char* name) -> size_t {
      auto function = reinterpret_cast<size_t (*)()>(dlsym(library, name));
      return function ? function() : 0;
    };
    std::printf("{\\"version\\":%zu,\\"cudart\\":%zu}\\n%s", ask("cudnnGetVersion"), ask("cudnnGetCudartVersion"), *paths);
    return 0;
  }
  return 1;
}
`

/**
 * For each library, the first candidate that opens.
 *
 * @param {{ readonly [library: string]: readonly string[] }} candidates
 * @returns {{ [library: string]: OpenedLibrary | undefined }}
 */
export function openedLibraries(candidates) {
  const folder = mkdtempSync(join(tmpdir(), 'residual-open-'))
  try {
    const program = join(folder, 'open')
    // Without a compiler nothing can be built; the build reports that.
    spawnSync(process.env.CXX ?? 'c++', ['-x', 'c++', '-', '-o', program, '-ldl'], { input: source })
    const opened = Object.entries(candidates).map(([library, paths]) => [library, open(program, paths)])
    return Object.fromEntries(opened)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function open(program, paths) {
  const { status, stdout } = spawnSync(program, paths, { encoding: 'utf8' })
  if (status !== 0) return undefined
  const [numbers, path] = stdout.split('\n')
  const { version, cudart } = JSON.parse(numbers)
  const parts = [version / 10000, (version / 100) % 100, version % 100]
  return { path, version: parts.map(Math.floor).join('.'), cuda: Math.floor(cudart / 1000) }
}
