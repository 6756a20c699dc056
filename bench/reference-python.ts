// The Python whose frameworks tests and benchmarks compare residual with.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../lib/base/package-root.ts'

/** Created by `npm run setup:reference`. */
const installed = join(packageRoot, '.deps', 'python', 'bin', 'python3')

/** RESIDUAL_PYTHON, else the one of `npm run setup:reference`, else `python3`. */
export const referencePython = process.env.RESIDUAL_PYTHON || (existsSync(installed) ? installed : 'python3')
