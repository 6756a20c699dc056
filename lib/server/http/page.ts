// The demo page, which loads nothing from elsewhere, and the Prometheus metrics.
import { readdirSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { packageRoot } from '../../base/package-root.ts'
import { invalid } from '../protocol/tensor-values.ts'
import type { Service } from '../service.ts'

/** What is sent, by the ends of files' names. */
const types: { readonly [extension: string]: string } = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.jpg': 'image/jpeg',
}

/** All that is in these folders of the package, and where: `page/` at the root, with its `index.html` for it. */
const folders = [
  { folder: 'page', at: '/' },
  { folder: 'samples', at: '/samples/' },
]

/** Nothing but what is here; images that the page shows are the visitor's own (blob:). */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' blob: data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

export function pageRoutes(app: FastifyInstance, service: Service): void {
  for (const { folder, at } of folders)
    for (const file of readdirSync(join(packageRoot, folder))) {
      const type = types[extname(file)]
      if (type === undefined) continue // an editor's, say
      const body = readFileSync(join(packageRoot, folder, file))
      app.get(file === 'index.html' ? at : `${at}${file}`, async (_, reply) => {
        reply.type(type).header('Content-Security-Policy', contentSecurityPolicy)
        reply.header('Referrer-Policy', 'no-referrer').header('Cache-Control', 'no-cache')
        return body
      })
    }
  // What a model can say at all: images of anything else get one of these names too.
  app.get('/classes', async request => {
    const { model, ...unknown } = request.query as { readonly [key: string]: unknown }
    const [stranger] = Object.keys(unknown)
    if (stranger !== undefined) throw invalid(`There is no parameter '${stranger}'; there is model.`)
    if (model !== undefined && typeof model !== 'string') throw invalid("'model' must be given once.")
    return service
      .find(model)
      .use(async ({ classifier }) => ({ model: classifier.name, classes: classifier.labels }))
  })
  const { metrics } = service
  app.get('/metrics', async (_, reply) => reply.type(metrics.contentType).send(await metrics.text()))
}
