// Paddle's files without named weights, which are refused: programs, and bare sequences of tensors.

/** How much of a file is needed to recognise it. */
export const paddleHeadBytes = 64

const stateDict = "paddle.save(model.state_dict(), 'model.pdparams')"
const orOnnx = `save the original network with ${stateDict}, or convert it to ONNX with paddle2onnx`

const pirProgram = /^\{\s*"base_code"\s*:\s*\{\s*"magic"\s*:\s*"pir"/

// The index 0 of a ProgramDesc's first block, and its parent's, -1: paddle/fluid/framework/framework.proto.
const firstBlock = Buffer.from('080010ffffffffffffffffff01', 'hex')
const mostLengthBytes = 5

// Versions and level of detail, all 0, before the length of a description that begins with the data type
// (paddle/phi/core/framework/dense_tensor_serialize.cc).
const zeroBytes = 16
const mostDescriptionBytes = 128

/** Why a file that begins like this is refused, and what to do; undefined if it is not one of these. */
export function unnamedPaddle(head: Uint8Array): string | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength)
  if (pirProgram.test(bytes.toString('latin1')) || isProgram(bytes))
    return `it is a PaddlePaddle program, which has no weights; ${orOnnx}`
  if (isTensor(bytes))
    return (
      'it holds unnamed parameters: those of a PaddlePaddle program, or a tensor saved with use_binary_format; ' +
      orOnnx
    )
  return undefined
}

/** Whether it is a `.pdmodel`: a ProgramDesc message, whose first field is a block. */
function isProgram(bytes: Buffer): boolean {
  if (bytes[0] !== 0x0a) return false
  let at = 1
  while (at <= mostLengthBytes && (bytes[at] ?? 0) >= 0x80) at++
  return bytes.subarray(at + 1, at + 1 + firstBlock.length).equals(firstBlock)
}

function isTensor(bytes: Buffer): boolean {
  if (bytes.length < zeroBytes + 6 || bytes.subarray(0, zeroBytes).some(byte => byte !== 0)) return false
  const length = bytes.readInt32LE(zeroBytes)
  return length >= 2 && length <= mostDescriptionBytes && bytes[zeroBytes + 4] === 0x08
}
