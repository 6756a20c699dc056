// The documentation site: its pages, their order, and how links that leave docs/ are followed.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'

const docs = join(dirname(fileURLToPath(import.meta.url)), '..')
const root = join(docs, '..')
const { description, repository, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const repositoryUrl = repository.url.replace(/^git\+|\.git$/g, '')

/** A shortcut past a layer. */
const icon = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#2f6fdb"/><path d="M16 5v6M16 21v6M8 8q-4 8 0 16M8 8h8M8 24h8" fill="none" stroke="#fff" stroke-width="2.5"/><rect x="11" y="11" width="10" height="10" rx="2" fill="#fff"/></svg>',
)}`

const page = (text, link) => ({ text, link })

/** TypeDoc's pages; scripts/docs.mjs makes them before it starts VitePress. */
const apiSidebar = JSON.parse(readFileSync(join(docs, 'api', 'typedoc-sidebar.json'), 'utf8'))

/** Links to files outside docs/ work in a clone as they are written; on the site they lead to the repository. */
function repositoryLinks(markdown) {
  const render =
    markdown.renderer.rules.link_open ??
    ((tokens, i, options, _, self) => self.renderToken(tokens, i, options))
  markdown.renderer.rules.link_open = (tokens, i, options, env, self) => {
    const href = tokens[i].attrGet('href')
    if (href.startsWith('../') && env.relativePath) {
      const [path, fragment] = href.split('#')
      const target = relative(root, join(docs, dirname(env.relativePath), path))
      if (!target.startsWith('docs')) {
        if (!existsSync(join(root, target))) throw new Error(`${env.relativePath}: dead link to ${href}`)
        tokens[i].attrSet('href', `${repositoryUrl}/blob/main/${target}${fragment ? `#${fragment}` : ''}`)
      }
    }
    return render(tokens, i, options, env, self)
  }
}

export default defineConfig({
  title: 'residual',
  description,
  lang: 'en',
  head: [['link', { rel: 'icon', href: icon }]],
  base: process.env.DOCS_BASE ?? '/', // a project's page on GitHub lies below its name
  cleanUrls: true,
  ignoreDeadLinks: [/^https?:\/\/localhost/], // every other dead link fails the build
  markdown: { config: repositoryLinks },
  srcExclude: ['node_modules/**'],
  themeConfig: {
    search: { provider: 'local' },
    nav: [
      page('Guides', '/embed'),
      page('API', '/api/'),
      page(version, `${repositoryUrl}/blob/main/CHANGELOG.md`),
      page('GitHub', repositoryUrl),
    ],
    sidebar: {
      '/api/': apiSidebar,
      '/': [
        {
          text: 'Guides',
          items: [
            page('Embed it', '/embed'),
            page('Serve it', '/serve'),
            page('Benchmark it', '/benchmark'),
            page('Train with it', '/train'),
            page('Quantize a model', '/quantization'),
          ],
        },
        {
          text: 'Reference',
          items: [
            page('API', '/api/'),
            page('Command line', '/command-line'),
            page('Server and protocol', '/serving'),
            page('Checkpoints', '/checkpoints'),
            page('Downloading checkpoints', '/pull'),
            page('Images', '/images'),
            page('Fewer bits on the CPU', '/precision'),
            page('Errors', '/errors'),
            page('NVIDIA GPUs (experimental)', '/cuda'),
          ],
        },
        {
          text: 'Operations',
          items: [page('Scaling out', '/scaling')],
        },
        {
          text: 'Background',
          items: [
            page('Compared with others', '/comparison'),
            page('CPU performance', '/performance'),
            page('cuDNN plans', '/plans'),
            page('Mutation tests', '/mutations'),
          ],
        },
      ],
    },
  },
})
