// The demo page, which loads nothing from elsewhere, and the Prometheus metrics.
import { readdirSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { packageRoot } from '../../base/package-root.ts'
import { invalid } from '../protocol/tensor-values.ts'
import type { Service } from '../service.ts'

/** Content types by file extension. */
const types: { readonly [extension: string]: string } = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.jpg': 'image/jpeg',
}

/** The folders of the package that are served, and where: `page/` is at the root, with its `index.html`. */
const folders = [
  { folder: 'page', at: '/' },
  { folder: 'samples', at: '/samples/' },
]

/** Only our own files; the images that the page shows are the visitor's own (blob:). */
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
      if (type === undefined) continue // an editor's backup, for example
      const body = readFileSync(join(packageRoot, folder, file))
      app.get(file === 'index.html' ? at : `${at}${file}`, async (_, reply) => {
        reply.type(type).header('Content-Security-Policy', contentSecurityPolicy)
        reply.header('Referrer-Policy', 'no-referrer').header('Cache-Control', 'no-cache')
        return body
      })
    }
  // The classes the model knows: images of anything else get one of these labels too.
  app.get('/classes', async request => {
    const { model, ...unknown } = request.query as { readonly [key: string]: unknown }
    const [stranger] = Object.keys(unknown)
    if (stranger !== undefined) throw invalid(`Unknown parameter '${stranger}'; known is model.`)
    if (model !== undefined && typeof model !== 'string') throw invalid("'model' must be given once.")
    return service
      .find(model)
      .use(async ({ classifier }) => ({ model: classifier.name, classes: classifier.labels }))
  })
  const { metrics } = service
  app.get('/metrics', async (_, reply) => reply.type(metrics.contentType).send(await metrics.text()))
}
