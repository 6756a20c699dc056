import { afterAll } from 'vitest'
import { describeTargets } from './describe-targets.ts'
import { endHdf5, kerasTarget } from './hdf5-target.ts'

afterAll(endHdf5)

describeTargets([kerasTarget], 400)
