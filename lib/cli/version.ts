// Which version is this? Where the command line and its tools look for it.
export { packageVersion } from '../package-version.ts'
