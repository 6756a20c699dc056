// Makes the images of README.md and docs/ in docs/media: what `residual classify` says of the samples, with class activation maps; the
// server's page, on a desktop and a phone; and the chart of the benchmark table in docs/benchmark.md. All are of this repository's own
// samples and model. It takes Chromium (RESIDUAL_CHROMIUM, or Debian's).
//
//   npm run docs:images [-- [--out FOLDER] NAME ...]     those of these names, in that folder
import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: 'string' } } })
const media = values.out ?? join(root, 'docs', 'media')
const work = mkdtempSync(join(tmpdir(), 'residual-docs-'))
const node = (args, env) =>
  execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8', env: { ...process.env, ...env } })
const dataUrl = (path, type) => `data:image/${type};base64,${readFileSync(path).toString('base64')}`

mkdirSync(media, { recursive: true })
const images = {
  'benchmark.svg': () => writeFileSync(join(media, 'benchmark.svg'), benchmarkChart()),
  'classify.png': classifyImage,
  'page.png': pageImages, // and that of a phone
}
try {
  for (const name of positionals.length > 0 ? positionals : Object.keys(images)) {
    if (!Object.hasOwn(images, name))
      throw new Error(`Expected ${Object.keys(images).join(', ')} but received ${name}`)
    await images[name]()
  }
} finally {
  rmSync(work, { recursive: true })
}

/** Samples beside their class activation maps and the likeliest classes, as `residual classify --cam` gives them. */
async function classifyImage() {
  const names = ['deer', 'ship', 'automobile']
  const paths = names.map(name => `samples/${name}.jpg`)
  const command = ['bin/residual.js', 'classify', ...paths, '--top-k', '3', '--device', 'cpu', '--json']
  const results = JSON.parse(node([...command, '--cam', join(work, 'map.png')]))
  const tile = ({ predictions }, i) => `
    <figure>
      <img src="${dataUrl(join(root, paths[i]), 'jpeg')}"><img src="${dataUrl(join(work, `map-${names[i]}.png`), 'png')}">
      <table>${predictions
        .map(({ label, probability }) => {
          const percent = (100 * probability).toFixed(1)
          return `<tr><td>${label}<td><i style="width:${Math.max(percent, 0.6)}%"></i><td>${percent} %`
        })
        .join('')}</table>
    </figure>`
  const html = `<!doctype html><meta charset="utf-8"><style>
    body { margin: 0; padding: 20px; width: 920px; background: #fff; color: #1f2328; font: 15px/1.4 system-ui, sans-serif }
    code { display: block; padding: 9px 14px; border-radius: 6px; background: #f3f4f6; font: 14px/1.4 monospace }
    div { display: grid; grid-template-columns: repeat(3, 1fr); gap: 20px; margin-top: 18px }
    figure { margin: 0; display: grid; grid-template-columns: 1fr 1fr; gap: 4px } img { width: 100% }
    table { grid-column: 1 / 3; table-layout: fixed; margin-top: 6px; border-spacing: 0; font-size: 14px }
    td:nth-child(1) { width: 82px } td:nth-child(3) { width: 58px; text-align: right }
    i { display: block; height: 12px; border-radius: 2px; background: #2f6fdb }
    </style><code>$ npx residual classify samples --top-k 3 --cam map.png</code><div>${results.map(tile).join('')}</div>`
  const executablePath = process.env.RESIDUAL_CHROMIUM ?? '/usr/bin/chromium'
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] })
  try {
    const page = await browser.newPage({ viewport: { width: 960, height: 100 }, deviceScaleFactor: 1.5 })
    await page.setContent(html)
    await page.screenshot({ path: join(media, 'classify.png'), fullPage: true })
  } finally {
    await browser.close()
  }
}

/** The server's page: taken by its test, which drives it. */
function pageImages() {
  const require = createRequire(import.meta.url)
  const vitest = join(dirname(require.resolve('vitest/package.json')), 'vitest.mjs')
  node([vitest, 'run', 'test/server/page.test.ts'], { RESIDUAL_SCREENSHOTS: work })
  const shots = readdirSync(work).filter(name => /^page(-phone)?\.png$/.test(name))
  if (shots.length !== 2)
    throw new Error(`The page's test left ${shots.join(', ') || 'no screenshots'} of two`)
  for (const name of shots) copyFileSync(join(work, name), join(media, basename(name)))
}

/** Bars of how many times as long onnxruntime takes, with their quartiles, from the first table of docs/benchmark.md that has them. */
function benchmarkChart() {
  const text = readFileSync(join(root, 'docs', 'benchmark.md'), 'utf8')
  const row =
    /^\| (ResNet-\d+|bundled, 64x64) \| (\d+) \| (\d+) \| .+ \| ([\d.]+) \(([\d.]+)-([\d.]+)\)( noisy)? \|$/gm
  const rows = [...text.matchAll(row)].map(([, network, threads, batch, ratio, low, high, noisy]) => ({
    ...{ network, threads, batch, noisy: noisy !== undefined },
    ...{ ratio: Number(ratio), low: Number(low), high: Number(high) },
  }))
  if (rows.length === 0) throw new Error('docs/benchmark.md has no table of ratios')
  const left = 230
  const scale = 250
  const pitch = 24
  const top = 46
  const height = top + rows.length * pitch + 34
  const x = ratio => left + ratio * scale
  const bars = rows.map(({ network, threads, batch, ratio, low, high, noisy }, i) => {
    const y = top + i * pitch
    const label = `${network}, ${threads} thread${threads === '1' ? '' : 's'}, batch ${batch}`
    return (
      `<text x="${left - 10}" y="${y + 12}" text-anchor="end">${label}</text>` +
      `<rect x="${left}" y="${y}" width="${ratio * scale}" height="16" fill="${noisy ? '#9ab8ea' : '#2f6fdb'}"/>` +
      `<path d="M${x(low)} ${y + 8}H${x(high)}" stroke="#10244a" stroke-width="2"/>` +
      `<text x="${x(Math.max(high, ratio)) + 8}" y="${y + 12}">${ratio.toFixed(2)}</text>`
    )
  })
  const end = height - 28
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 ${height}" font-family="system-ui, sans-serif" font-size="13">
<title>How many times as long onnxruntime-node takes as residual</title>
<rect width="800" height="${height}" fill="#fff"/>
<text x="${left}" y="20" font-weight="600">onnxruntime-node's time over residual's; above 1 residual is faster</text>
${bars.join('\n')}
<path d="M${x(1)} ${top - 10}V${end}" stroke="#444" stroke-dasharray="3 3"/>
<text x="${x(1)}" y="${end + 16}" text-anchor="middle">1</text>
<text x="${left}" y="${end + 16}" fill="#555">Lines: quartiles. Pale: noisy.</text>
</svg>
`
}
