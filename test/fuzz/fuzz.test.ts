import { describeTargets } from './describe-targets.ts'
import { targets } from './targets.ts'

describeTargets(targets, 1500)
