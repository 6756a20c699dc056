// The public names of `residual/server`, nothing else.
export type { Limits, LogLevel, ServeOptions } from './options.ts'
export { type RunningServer, serve } from './server.ts'
