// Where do browsers and Prometheus look? A page of static files that loads nothing from elsewhere, and the metrics.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { packageRoot } from '../package-root.ts'
import type { Service } from './service.ts'

const files = [
  { path: '/', file: 'index.html', type: 'text/html; charset=utf-8' },
  { path: '/page.css', file: 'page.css', type: 'text/css; charset=utf-8' },
  { path: '/page.js', file: 'page.js', type: 'text/javascript; charset=utf-8' },
] as const

/** Nothing but what is here; pictures that the page shows are the visitor's own (blob:). */
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

export function pageRoutes(app: FastifyInstance, { metrics }: Service): void {
  for (const { path, file, type } of files) {
    const body = readFileSync(join(packageRoot, 'page', file))
    app.get(path, async (_, reply) => {
      reply.type(type).header('Content-Security-Policy', contentSecurityPolicy)
      reply.header('Referrer-Policy', 'no-referrer').header('Cache-Control', 'no-cache')
      return body
    })
  }
  app.get('/metrics', async (_, reply) => reply.type(metrics.contentType).send(await metrics.text()))
}
