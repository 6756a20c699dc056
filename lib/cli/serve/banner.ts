// The banner of `residual serve`: its addresses, models and device, and how to stop it.
import { packageVersion } from '../../base/package-version.ts'
import type { SessionDevice } from '../../runtime/session.ts'
import type { RunningServer } from '../../server/index.ts'

/** Addresses that mean all of a machine's, as written in URLs. */
const everyAddress: readonly string[] = ['0.0.0.0', '[::]']
const loopback: readonly string[] = ['127.0.0.1', '[::1]']

export function serveBanner({
  url,
  grpcPort,
  models,
  hints,
}: Pick<RunningServer, 'url' | 'grpcPort' | 'models' | 'hints'>): string {
  const place = new URL(url)
  const { hostname } = place
  const isEvery = everyAddress.includes(hostname)
  const host = isEvery || loopback.includes(hostname) ? 'localhost' : hostname
  place.hostname = host
  const page = place.href
  return [
    `residual ${packageVersion()} is serving`,
    ...models.flatMap(({ name, device }) => [`  ${name} on ${deviceText(device)}`, ...reasonText(device)]),
    ...hints.map(hint => `  ${hint}`),
    '',
    `  ${page}  a page to drop images on`,
    `  curl --data-binary @photo.jpg ${page}classify`,
    ...(grpcPort === undefined ? [] : [`  ${host}:${grpcPort}  gRPC`]),
    '',
    ...(isEvery ? ['It listens on all addresses of this machine: anyone who can reach it can use it.'] : []),
    'Press Ctrl+C to stop; accepted requests are answered first.',
    '',
  ].join('\n')
}

function deviceText(device: SessionDevice | undefined): string {
  if (!device) return 'a device not known yet'
  if (device.kind === 'cuda') return `${device.name} (GPU ${device.index}, ${device.precision})`
  const { isa, threads, precision } = device
  return `the CPU (${isa}, ${threads} ${threads === 1 ? 'thread' : 'threads'}, ${precision})`
}

/** Why it is not computed as was asked. */
function reasonText(device: SessionDevice | undefined): string[] {
  return device?.kind === 'cpu' && device.precisionReason !== undefined
    ? [`    ${device.precisionReason}`]
    : []
}
