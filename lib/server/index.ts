// The public API of `residual/server`.
export type { Limits, LogLevel, ServeOptions } from './options.ts'
export { type RunningServer, serve } from './server.ts'
