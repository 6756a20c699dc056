// The results: all of them kept, the latest shown, saved as CSV or JSON.
import { byId, saveAs } from './elements.js'
import { drawImage } from './thumbnails.js'

const shownAtFirst = 60
const imagesKept = 2000 // of older ones the classes remain
const leastShown = 0.0005 // a lower probability would be 0.0 %

/** A probability as people read it. A logit is no share of anything. */
export const amount = (value, activation) =>
  activation === 'none' ? value.toPrecision(4) : `${(100 * value).toFixed(1)}\u00a0%`

const list = byId('results')
const showMap = byId('show-map')
/** In the order they came. */
let all = []
let shown = shownAtFirst
let onCleared = () => {}

/** Shows an image that is being classified, and returns what to give `finish`. */
export function add(name) {
  const result = { name, mapWanted: showMap.checked }
  all.push(result)
  const forgotten = all[all.length - 1 - imagesKept]
  if (forgotten) {
    forgotten.image = undefined
    forgotten.map = undefined
  }
  list.prepend(card(result))
  while (list.children.length > shown) list.lastElementChild.remove()
  update()
  return result
}

/** Shows the outcome. */
export async function finish(result, answer) {
  Object.assign(result, answer)
  if (answer.error !== undefined) result.problem = problem(answer)
  if (result.card?.isConnected) await fill(result)
}

export function onClear(callback) {
  onCleared = callback
}

// ---- Cards ----

function card(result) {
  const element = byId('card').content.firstElementChild.cloneNode(true)
  element.classList.add('pending')
  element.querySelector('.title').textContent = result.name
  element.querySelector('.times').hidden = true
  element.querySelector('.map-button').addEventListener('click', () => {
    result.mapWanted = !result.mapWanted
    return draw(result)
  })
  result.card = element
  return element
}

async function fill(result) {
  const { card, model, activation, predictions = [], timings, problem = '' } = result
  card.classList.remove('pending')
  card.querySelector('.model').textContent = model ?? ''
  card.querySelector('.error').textContent = problem
  const isWorthShowing = ({ probability }, i) => i === 0 || activation === 'none' || probability >= leastShown
  const worthShowing = predictions.filter(isWorthShowing)
  card.querySelector('.classes').replaceChildren(...worthShowing.map(each => bar(each, activation)))
  if (timings) showTimes(card.querySelector('.times'), timings)
  await draw(result)
}

async function draw({ card, image, map, view, mapWanted, predictions }) {
  const [canvas, button] = ['canvas', '.map-button'].map(selector => card.querySelector(selector))
  card.querySelector('.image').hidden = !image
  if (!image) return
  button.hidden = !map
  button.setAttribute('aria-pressed', String(mapWanted))
  const best = predictions?.[0]?.label
  canvas.setAttribute('role', 'img')
  canvas.setAttribute(
    'aria-label',
    mapWanted && best ? `The image, with a map of where ${best} was seen` : 'The image',
  )
  await drawImage(canvas, image, mapWanted ? map : undefined, view)
}

/** Error messages for people; saved results have the server's own. */
const problems = {
  DECODE_FAILED:
    'This is not an image, or it is damaged. The server reads JPEG, PNG, WebP, GIF, TIFF and AVIF.',
  PICTURE_TOO_LARGE: 'This image has more pixels than the server accepts.',
  REQUEST_TOO_LARGE: 'This file is larger than the server accepts.',
  QUEUE_FULL: 'The server is busy. Try again later.',
  SERVER_BUSY: 'The server is busy. Try again later.',
  DEADLINE_EXCEEDED: 'The server took too long. Try again later.',
}

const problem = ({ error, code }) => problems[code] ?? error.replace(/ \[[A-Z_]+\]$/, '')

function bar({ label, probability }, activation) {
  const item = document.createElement('li')
  const [name, track, value] = ['span', 'span', 'span'].map(tag => document.createElement(tag))
  name.className = 'name'
  name.textContent = label
  track.className = 'track'
  const filled = document.createElement('i')
  filled.style.width = activation === 'none' ? '0%' : `${100 * probability}%`
  track.append(filled)
  value.className = 'value'
  value.textContent = amount(probability, activation)
  item.append(name, track, value)
  return item
}

function showTimes(element, { decodeMs, queueMs, computeMs }) {
  element.hidden = false
  const stages = Object.entries({ decode: decodeMs, queue: queueMs, compute: computeMs })
  const texts = stages.map(([name, ms]) => {
    element.querySelector(`i.${name}`).style.flexGrow = ms
    const [stage, label] = ['span', 'b'].map(tag => document.createElement(tag))
    label.className = name
    label.textContent = name
    stage.append(label, ` ${ms.toFixed(ms < 100 ? 1 : 0)} ms `)
    return stage
  })
  element.querySelector('p').replaceChildren(...texts)
}

// ---- Tools ----

showMap.addEventListener('change', () => {
  for (const result of all) result.mapWanted = showMap.checked
  for (const result of latest()) draw(result)
})

/** Those with a card, the latest first. */
const latest = () => all.slice(Math.max(0, all.length - shown)).reverse()

function update() {
  byId('tools').hidden = all.length === 0
  const hidden = all.length - Math.min(all.length, shown)
  const more = byId('more')
  more.hidden = hidden === 0
  more.textContent = `Show ${Math.min(hidden, shownAtFirst)} more of ${hidden} older results`
}

byId('more').addEventListener('click', () => {
  const from = list.children.length
  shown += shownAtFirst
  const older = latest().slice(from)
  list.append(...older.map(card))
  for (const result of older) if (result.predictions || result.problem) fill(result)
  update()
})

byId('clear').addEventListener('click', () => {
  all = []
  shown = shownAtFirst
  list.replaceChildren()
  update()
  onCleared()
})

/** The finished ones, in the order they were given. */
const finished = () => all.filter(({ predictions, problem }) => predictions || problem)

byId('save-json').addEventListener('click', () => {
  const rows = finished().map(({ name, model, activation, predictions, error }) => ({
    ...{ name, model, activation, predictions, error },
  }))
  saveAs('results.json', 'application/json', `${JSON.stringify(rows, null, 2)}\n`)
})

byId('save-csv').addEventListener('click', () => {
  const most = finished().reduce((most, { predictions = [] }) => Math.max(most, predictions.length), 0)
  const head = ['name', 'model', 'error']
  for (let i = 1; i <= most; i++) head.push(`class ${i}`, `probability ${i}`)
  const rows = finished().map(({ name, model = '', error = '', predictions = [] }) => [
    ...[name, model, error],
    ...predictions.flatMap(({ label, probability }) => [label, probability]),
  ])
  saveAs('results.csv', 'text/csv', [head, ...rows].map(row => `${row.map(cell).join(',')}\r\n`).join(''))
})

/** Quoted as RFC 4180 says. */
const cell = value => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value)
