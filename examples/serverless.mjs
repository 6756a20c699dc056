// A serverless handler (API Gateway's events, as AWS Lambda gets them): loaded once per instance, reused by later calls.
//
//   node examples/serverless.mjs [IMAGE]    calls the handler as the platform would
//
// Build the package on the platform's Linux (its base image has no compiler: build in a stage that does, and copy node_modules).
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { load, ResidualError } from 'residual'

const loading = load('resnet50-cifar10', { device: 'cpu', maxBatch: 1 }) // during the instance's start, which is not billed as a call
loading.catch(() => {}) // the first call reports it

export async function handler(event) {
  const answer = (statusCode, body) => ({
    statusCode,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (!event.body) return answer(400, { error: 'The body must be an image' })
  try {
    const classifier = await loading
    const bytes = Buffer.from(event.body, event.isBase64Encoded ? 'base64' : 'latin1')
    const { pixels } = await classifier.prepare(bytes, { maxPixels: 20_000_000 })
    const { probabilities } = await classifier.run(pixels, { outputs: ['probabilities'] })
    return answer(200, { predictions: classifier.top(probabilities, 3) })
  } catch (error) {
    if (!(error instanceof ResidualError)) throw error
    return answer(error.code === 'PICTURE_TOO_LARGE' ? 413 : 415, { error: error.message, code: error.code })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const image = await readFile(process.argv[2] ?? 'samples/airplane.jpg')
  for (const body of [image.toString('base64'), Buffer.from('not an image').toString('base64')]) {
    const { statusCode, body: text } = await handler({ body, isBase64Encoded: true })
    const { predictions, code } = JSON.parse(text)
    console.log(statusCode, code ?? predictions[0].label)
  }
  await (await loading).close()
}
