import { afterAll } from 'vitest'
import { describeTargets } from './describe-targets.ts'
import { endHdf5, hdf5Target } from './hdf5-target.ts'

afterAll(endHdf5)

describeTargets([hdf5Target], 400)
