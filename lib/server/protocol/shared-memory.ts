// Triton's shared memory extensions, which are refused: the server reads only what a request contains.
import { invalid } from './tensor-values.ts'

/**
 * Refuses parameters that place a tensor in shared memory: ignoring them would change the meaning of the request.
 *
 * @throws ResidualError REQUEST_INVALID
 */
export function refuseSharedMemory(parameters: object | null | undefined, of: string): void {
  const name = Object.keys(parameters ?? {}).find(name => name.startsWith('shared_memory_'))
  if (name !== undefined)
    throw invalid(
      `The parameter '${name}' of ${of} is not supported: the server does not use shared memory. Send data in the request and read results from the answer.`,
    )
}
