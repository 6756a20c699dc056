// Triton's shared memory extensions, which are refused: the server reads only what a request contains.
import { invalid } from './tensor-values.ts'

/**
 * Refuses parameters that say where in shared memory a tensor is or should go: without them the request means something else.
 *
 * @throws ResidualError REQUEST_INVALID
 */
export function refuseSharedMemory(parameters: object | null | undefined, of: string): void {
  const name = Object.keys(parameters ?? {}).find(name => name.startsWith('shared_memory_'))
  if (name !== undefined)
    throw invalid(
      `The parameter '${name}' of ${of} is not supported: the server has no shared memory. Send data in the request and take them from the answer.`,
    )
}
