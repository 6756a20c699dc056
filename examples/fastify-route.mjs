// Add a route to your own Fastify server: the request's body is an image, the answer its classes.
//
//   node examples/fastify-route.mjs
//   curl --data-binary @samples/ship.jpg -H 'content-type: image/jpeg' localhost:3000/classify
//
// Batcher runs concurrent requests as one batch and bounds the queue. `residual serve` has all this ready to use.
import Fastify from 'fastify'
import { Batcher, load, ResidualError } from 'residual'

const classifier = await load('resnet50-cifar10')
const batcher = new Batcher([classifier.session], { maxBatch: 16, maxWaitMs: 2, maxQueue: 256 })
const statusOf = { DECODE_FAILED: 415, PICTURE_TOO_LARGE: 413, QUEUE_FULL: 503 }

const app = Fastify({ bodyLimit: 16 * 2 ** 20 })
app.addContentTypeParser(/^image\//, { parseAs: 'buffer' }, (_request, body, done) => done(null, body))

app.post('/classify', async request => {
  const { pixels } = await classifier.prepare(request.body, { maxPixels: 50_000_000 })
  const { outputs } = await batcher.run(pixels, { outputs: ['probabilities'], timeoutMs: 5000 })
  return { predictions: classifier.top(outputs.probabilities, 3) }
})

app.setErrorHandler((error, _request, reply) => {
  const status = error instanceof ResidualError ? (statusOf[error.code] ?? 500) : (error.statusCode ?? 500)
  reply.code(status).send({ error: error.message, code: error.code })
})

app.addHook('onClose', async () => {
  await batcher.close() // answers what it has accepted
  await classifier.close()
})

console.log(`listening on ${await app.listen({ port: Number(process.env.PORT ?? 3000) })}`)
process.once('SIGTERM', () => app.close())
