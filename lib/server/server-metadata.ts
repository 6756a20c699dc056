// The server's metadata: name, version, extensions.
import { packageVersion } from '../base/package-version.ts'

/** The server's metadata. */
export function serverMetadata() {
  return { name: 'residual', version: packageVersion(), extensions }
}

/** Triton's, by its names. */
const extensions = [
  'binary_tensor_data',
  'classification',
  'model_configuration',
  'model_repository',
  'statistics',
]
