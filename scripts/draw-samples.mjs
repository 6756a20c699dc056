// Draws samples/*.jpg, so that `residual classify samples` has images to look at that are nobody's photographs.
//
// The bundled CIFAR-10 model sees only the middle square, shrunk to 32x32: each subject fills that square, and
// shape, light and background count for more than detail.
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'

const WIDTH = 480
const HEIGHT = 360
const BLEED = 40
const samples = join(dirname(fileURLToPath(import.meta.url)), '..', 'samples')

/** A vertical gradient, top colour first, for use as `url(#id)`. */
const gradient = (id, ...colours) => {
  const stops = colours.map(
    (colour, i) => `<stop offset="${i / (colours.length - 1)}" stop-color="${colour}"/>`,
  )
  return `<linearGradient id="${id}" x1="0" y1="0" x2="0" y2="1">${stops.join('')}</linearGradient>`
}
const rect = (x, y, width, height, fill, more = '') =>
  `<rect x="${x}" y="${y}" width="${width}" height="${height}" fill="${fill}" ${more}/>`
const ellipse = (cx, cy, rx, ry, fill, more = '') =>
  `<ellipse cx="${cx}" cy="${cy}" rx="${rx}" ry="${ry}" fill="${fill}" ${more}/>`
const shape = (d, fill, more = '') => `<path d="${d}" fill="${fill}" ${more}/>`
const line = (d, stroke, width) =>
  `<path d="${d}" fill="none" stroke="${stroke}" stroke-width="${width}" stroke-linecap="round" stroke-linejoin="round"/>`
const row = (count, draw) => Array.from({ length: count }, (_, i) => draw(i)).join('')
const BLUR = 'filter="url(#blur)"'

/** A full-width area from `y` down, with grain over the fill. */
const ground = (y, fill) =>
  rect(0, y, WIDTH, HEIGHT - y, fill) +
  rect(0, y, WIDTH, HEIGHT - y, '#000', 'filter="url(#grain)" opacity="0.25"')

const wheel = (cx, cy, r) =>
  ellipse(cx, cy, r, r, '#17181b') +
  ellipse(cx, cy, r * 0.58, r * 0.58, '#b9bec6') +
  ellipse(cx, cy, r * 0.4, r * 0.4, '#7d838d') +
  ellipse(cx, cy, r * 0.14, r * 0.14, '#e6e8ec')

const airplane = () =>
  gradient('sky', '#3f86cf', '#8dbdea', '#d3e6f6') +
  gradient('hull', '#ffffff', '#f1f4f8', '#8d9bb0') +
  rect(0, 0, WIDTH, HEIGHT, 'url(#sky)') +
  ellipse(90, 300, 150, 26, '#fff', `opacity="0.7" ${BLUR}`) +
  ellipse(390, 325, 170, 24, '#fff', `opacity="0.7" ${BLUR}`) +
  `<g transform="rotate(-9 240 185)">` +
  shape('M262 172 L196 104 L178 104 L214 174 Z', '#a9b6c8') + // far wing
  shape('M112 166 L72 92 L98 92 L150 162 Z', '#1f4e9c') + // fin
  shape(
    'M70 176 C90 164 130 160 170 158 L360 156 C395 157 416 172 416 183 C416 196 392 203 350 204 L170 204 C130 202 96 190 70 176 Z',
    'url(#hull)',
  ) +
  shape('M380 165 L394 168 L402 174 L384 174 Z', '#27364d') +
  row(17, i => rect(165 + i * 12, 171, 5, 8, '#40587d', 'rx="2"')) +
  line('M120 188 L412 188', '#1f4e9c', 4) +
  shape('M126 178 L70 200 L88 202 L150 186 Z', '#6c7a90') + // tailplane
  shape('M282 192 L150 268 L176 270 L330 198 Z', '#77869d') +
  rect(232, 222, 52, 22, '#44526a', 'rx="11"') +
  `</g>`

const ship = () =>
  gradient('sky', '#7fb3de', '#cfe4f2') +
  gradient('sea', '#2f6f9a', '#17486f') +
  gradient('hull', '#c8382f', '#7d1d1a') +
  rect(0, 0, WIDTH, 240, 'url(#sky)') +
  ground(226, 'url(#sea)') +
  shape('M62 196 L418 186 L384 262 L92 262 Z', '#1d2a3c') +
  shape('M87 246 L391 246 L384 264 L92 264 Z', 'url(#hull)') +
  rect(92, 112, 74, 84, '#f6f7f9') +
  rect(84, 104, 90, 10, '#dfe4ea') +
  row(4, i => rect(98 + i * 16, 120, 11, 10, '#2f4660')) +
  row(2, j => row(4, i => rect(100 + i * 16, 144 + j * 22, 7, 9, '#5d7590'))) +
  rect(108, 72, 30, 34, '#d9822b') +
  rect(108, 72, 30, 9, '#222') +
  row(5, i => rect(176 + i * 40, 160, 38, 33, ['#c0502f', '#2d7fa8', '#d7a13a', '#3e8a5b', '#8d96a3'][i])) +
  row(4, i => rect(176 + i * 40, 128, 38, 31, ['#3e8a5b', '#c9ccd2', '#b23b3b', '#2d7fa8'][i])) +
  line('M398 188 L398 130', '#556', 5) +
  shape('M60 264 C160 256 320 256 420 264 C330 274 150 274 60 264 Z', '#e9f3f8', `opacity="0.8"`)

const truck = () =>
  gradient('sky', '#8fbfe8', '#e3eff8') +
  gradient('box', '#ffffff', '#d5dbe2') +
  gradient('cab', '#e0503f', '#a52a20') +
  rect(0, 0, WIDTH, 260, 'url(#sky)') +
  ellipse(60, 236, 130, 34, '#5f8357', BLUR) +
  ellipse(400, 238, 150, 30, '#6d9062', BLUR) +
  ground(248, '#7e8084') +
  ellipse(240, 306, 185, 14, '#222', `opacity="0.6" ${BLUR}`) +
  rect(76, 258, 330, 24, '#2a2d33') +
  rect(70, 84, 226, 178, 'url(#box)') +
  rect(70, 84, 226, 8, '#aeb6c0') +
  row(8, i => line(`M${96 + i * 26} 96 L${96 + i * 26} 256`, '#c5ccd5', 2)) +
  shape('M302 268 L302 126 L366 126 Q378 126 384 142 L398 196 Q412 200 412 214 L412 268 Z', 'url(#cab)') +
  shape('M330 140 L364 140 Q370 140 373 150 L385 194 L330 194 Z', '#2a3d55') +
  line('M322 140 L322 262', '#8b2018', 3) +
  rect(400, 222, 12, 18, '#fff3c4') +
  rect(392, 256, 26, 16, '#3b3f46') +
  wheel(122, 284, 30) +
  wheel(190, 284, 30) +
  wheel(362, 284, 30)

const automobile = () =>
  gradient('sky', '#a9cdea', '#eaf2f8') +
  gradient('paint', '#f0493a', '#c9241b', '#84120f') +
  gradient('glass', '#3a5068', '#1c2836') +
  rect(0, 0, WIDTH, 220, 'url(#sky)') +
  ellipse(80, 190, 140, 44, '#5f8d58', BLUR) +
  ellipse(420, 190, 140, 40, '#6f9a62', BLUR) +
  ground(206, '#8c8e92') +
  ellipse(240, 286, 190, 14, '#1a1a1a', `opacity="0.65" ${BLUR}`) +
  shape(
    'M66 262 L66 216 Q68 196 104 188 L136 182 L176 132 Q184 122 200 122 L282 122 Q298 122 312 134 L356 182 L394 192 Q416 200 416 226 L416 262 Q416 272 404 272 L78 272 Q66 272 66 262 Z',
    'url(#paint)',
  ) +
  shape('M154 182 L186 142 Q190 136 198 136 L236 136 L236 182 Z', 'url(#glass)') +
  shape('M246 182 L246 136 L280 136 Q290 136 298 144 L334 182 Z', 'url(#glass)') +
  line('M241 140 L241 262', '#7d120e', 3) +
  line('M76 214 L408 214', '#ff8b7d', 3) +
  rect(256, 198, 24, 6, '#5c0d0a', 'rx="3"') +
  ellipse(404, 214, 10, 10, '#fff6cf') +
  rect(66, 208, 12, 18, '#ffb3a0') +
  wheel(136, 268, 36) +
  wheel(346, 268, 36)

const deer = () =>
  gradient('wood', '#8f8a58', '#c4b070') +
  gradient('grass', '#b09a52', '#857238') +
  gradient('coat', '#b48a60', '#a07448', '#785434') +
  rect(0, 0, WIDTH, HEIGHT, 'url(#wood)') +
  row(7, i => rect(20 + i * 72, 0, 16 + (i % 3) * 8, 230, '#3d4a2c', `opacity="0.45" ${BLUR}`)) +
  ground(220, 'url(#grass)') +
  `<g transform="translate(23 29) scale(0.9)">` +
  ellipse(208, 330, 110, 9, '#222', `opacity="0.5" ${BLUR}`) +
  row(2, i => shape(`M${140 + i * 104} 200 l34 0 l-10 62 l4 58 l-12 0 l-6 -58 Z`, '#785434')) + // far legs
  shape(
    'M112 176 C112 146 160 142 200 146 C236 148 252 138 266 120 L298 80 L328 96 C318 128 312 160 302 186 C294 218 262 226 224 216 C190 208 160 222 138 222 C116 216 110 198 112 176 Z',
    'url(#coat)',
  ) +
  row(2, i => shape(`M${112 + i * 144} 186 q24 -28 46 0 q-2 40 -20 74 l2 66 l-14 0 l-6 -66 Z`, '#a07448')) +
  row(2, i =>
    shape(`M${126 + i * 144} 318 l14 0 l3 14 l-20 0 Z M${154 + i * 104} 312 l15 0 l2 13 l-18 0 Z`, '#2a1c12'),
  ) +
  ellipse(112, 178, 9, 20, '#f2eadb') +
  shape('M303 128 C300 160 290 182 276 200 C296 196 306 178 312 140 Z', '#dcc39c') +
  shape('M290 96 C288 72 314 62 332 72 L374 96 C382 102 378 112 366 114 L322 118 Z', '#a07448') +
  shape('M306 80 C290 76 272 66 266 54 C284 52 306 60 316 74 Z', '#785434') +
  ellipse(372, 101, 8, 7, '#2a1c12') +
  ellipse(330, 86, 5, 5, '#140d08') +
  line('M312 70 C296 48 298 28 308 10 M300 44 L280 28 M301 28 L322 16', '#e0cfaa', 5) +
  line('M324 70 C334 48 352 36 354 12 M338 44 L366 38 M350 28 L336 12', '#e0cfaa', 5) +
  `</g>`

const frog = () =>
  gradient('bank', '#8a7a56', '#5d4f34') +
  gradient('skin', '#8fc04a', '#5d9430', '#3f6b22') +
  gradient('thigh', '#5f9434', '#3b6320') +
  ground(0, 'url(#bank)') +
  ellipse(240, 306, 180, 24, '#2a2114', `opacity="0.6" ${BLUR}`) +
  row(
    2,
    i => ellipse(138 + i * 204, 248, 54, 62, 'url(#thigh)') + ellipse(126 + i * 228, 304, 44, 12, '#3b6320'),
  ) +
  ellipse(240, 220, 112, 86, 'url(#skin)') +
  ellipse(240, 256, 82, 48, '#e4e6b0') +
  ellipse(240, 158, 112, 62, 'url(#skin)') +
  line('M146 176 Q240 226 334 176', '#2f4f18', 5) +
  row(2, i => ellipse(226 + i * 28, 152, 3, 4, '#2f4f18')) +
  row(
    2,
    i =>
      ellipse(176 + i * 128, 108, 32, 32, '#6ea338') +
      ellipse(176 + i * 128, 106, 23, 23, '#e8c33c') +
      ellipse(176 + i * 128, 106, 15, 10, '#111') +
      ellipse(182 + i * 128, 100, 4, 4, '#fff'),
  ) +
  row(2, i =>
    line(`M${168 + i * 144} 240 l${i * 16 - 8} 66 l-24 10 m24 -10 l0 14 m0 -14 l24 10`, '#5d9430', 15),
  )

const drawings = { airplane, ship, truck, automobile, deer, frog }

const filters = `<filter id="blur" x="-100%" y="-100%" width="300%" height="300%"><feGaussianBlur stdDeviation="9"/></filter>
  <filter id="grain" x="0" y="0" width="100%" height="100%"><feTurbulence type="fractalNoise" baseFrequency="0.03 0.09" numOctaves="4" seed="7"/></filter>`

mkdirSync(samples, { recursive: true })
for (const [name, draw] of Object.entries(drawings)) {
  // A blur reads transparency beyond the canvas, so an extra edge is drawn, fades, and is cut off.
  const width = WIDTH + 2 * BLEED
  const height = HEIGHT + 2 * BLEED
  const box = `${-BLEED} ${-BLEED} ${width} ${height}`
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="${box}">${filters}${draw()}</svg>`
  await sharp(Buffer.from(svg))
    .extract({ left: BLEED, top: BLEED, width: WIDTH, height: HEIGHT })
    .jpeg({ quality: 90 })
    .toFile(join(samples, `${name}.jpg`))
}
