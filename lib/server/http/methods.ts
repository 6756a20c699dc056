// Unsupported methods: `OPTIONS` and every refusal list the methods a path has.
import type { FastifyInstance } from 'fastify'
import { ResidualError } from '../../errors.ts'

const methods = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT'] as const

/** Watches the routes that are added to `app` from now on. Call the returned function after the last one. */
export function watchMethods(app: FastifyInstance): () => void {
  const known = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const of = known.get(url) ?? new Set()
    for (const each of [method].flat()) of.add(each)
    known.set(url, of)
  })
  return () => {
    for (const [url, has] of [...known]) {
      const allow = [...has, 'OPTIONS'].sort().join(', ')
      app.options(url, async (_, reply) => reply.code(204).header('Allow', allow).send())
      app.route({
        method: methods.filter(method => method !== 'OPTIONS' && !has.has(method)),
        url,
        onRequest: async ({ method, url }, reply) => {
          reply.header('Allow', allow)
          const message = `${url.split('?', 1)[0]} does not support ${method}, only ${allow}.`
          throw new ResidualError('METHOD_NOT_ALLOWED', message)
        },
        handler: () => {}, // never reached: the body of such a request is not read
      })
    }
  }
}
