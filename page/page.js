// What does the page do? It sends pictures to /classify and draws what comes back; it reads /metrics and draws how busy the
// server is. No build step: browsers run this file as it is.

const shownResults = 60 // more would only be scrolled past
const requestsAtOnce = 4
const triesWhenFull = 20
const largestSide = 512 // of a picture as it is shown

const byId = id => document.getElementById(id)
const [results, status, showMap] = ['results', 'status', 'show-map'].map(byId)
const models = byId('model')
const wanted = new URLSearchParams(location.search).get('model')
const percent = value => `${(100 * value).toFixed(1)} %`
/** A logit is no share of anything. */
const amount = (value, activation) => (activation === 'none' ? value.toPrecision(4) : percent(value))

// ---- Which model? ----

/** Lets the visitor choose where there is something to choose from; the first is the server's own choice. */
function offerModels(names) {
  const known = [...models.options].map(({ value }) => value)
  if (names.join('\n') === known.join('\n')) return
  const chosen = models.value || wanted
  models.replaceChildren(...names.map(name => new Option(name)))
  if (names.includes(chosen)) models.value = chosen
  byId('model-choice').hidden = names.length < 2
}

models.addEventListener('change', () => {
  byId('server').textContent = models.value
})

// ---- Which pictures? ----

byId('choose').addEventListener('click', () => byId('files').click())
byId('choose-folder').addEventListener('click', () => byId('folder').click())
for (const id of ['files', 'folder'])
  byId(id).addEventListener('change', ({ target }) => {
    classifyAll([...target.files])
    target.value = '' // so that the same can be chosen again
  })

addEventListener('paste', ({ clipboardData }) => classifyAll([...clipboardData.files]))

const drop = byId('drop')
addEventListener('dragover', event => {
  event.preventDefault()
  drop.classList.add('over')
})
addEventListener('dragleave', event => {
  if (!event.relatedTarget) drop.classList.remove('over')
})
addEventListener('drop', async event => {
  event.preventDefault()
  drop.classList.remove('over')
  const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean)
  const dropped = [...event.dataTransfer.files] // gone once this handler has waited
  const found = entries.length > 0 ? (await Promise.all(entries.map(filesOf))).flat() : dropped
  classifyAll(found)
})

/** The files below an entry of a drop, folders searched through and through. */
async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))]
  const reader = entry.createReader()
  const files = []
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))
    if (some.length === 0) return files
    for (const child of some) files.push(...(await filesOf(child)))
  }
}

// ---- What do they show? ----

const waiting = []
const counts = { asked: 0, done: 0, failed: 0 }
let running = 0

function classifyAll(files) {
  // A file without a type may still be a picture; the server will tell.
  const pictures = files.filter(({ type }) => type === '' || type.startsWith('image/'))
  if (files.length > 0 && pictures.length === 0)
    status.textContent = 'There are no pictures among these files.'
  counts.asked += pictures.length
  waiting.push(...pictures)
  while (running < requestsAtOnce && waiting.length > 0) work()
}

async function work() {
  running++
  for (let file = waiting.shift(); file; file = waiting.shift()) {
    const card = newCard(file.name)
    const [answer, picture] = await Promise.all([
      classify(file),
      readPicture(file).catch(() => undefined), // a format that the server reads and the browser does not
    ])
    show(card, answer, picture)
    counts[answer.error === undefined ? 'done' : 'failed']++
    tellCounts(file.name, answer)
  }
  running--
}

async function classify(file) {
  const query = new URLSearchParams({ map: 'true' })
  const model = models.value || wanted // the list may not be there yet
  if (model) query.set('model', model)
  for (let tries = 1; ; tries++) {
    try {
      const response = await fetch(`classify?${query}`, { method: 'POST', body: file })
      if (response.status === 503 && tries < triesWhenFull) {
        await new Promise(resolve =>
          setTimeout(resolve, 1000 * Number(response.headers.get('Retry-After') ?? 1)),
        )
        continue
      }
      const json = await response.json()
      return response.ok ? { model: json.model, activation: json.activation, ...json.results[0] } : json
    } catch {
      return { error: 'The server cannot be reached.' }
    }
  }
}

/** What draws a card again. Nothing is kept of cards that have left the page. */
const redraws = new WeakMap()

showMap.addEventListener('change', () => {
  for (const card of results.children) redraws.get(card)?.()
})

function newCard(name) {
  const card = byId('card').content.firstElementChild.cloneNode(true)
  card.classList.add('pending')
  card.querySelector('.title').textContent = name
  card.querySelector('.times').hidden = true
  results.prepend(card)
  while (results.children.length > shownResults) results.lastElementChild.remove()
  return card
}

function show(card, { predictions = [], activation, map, view, timings, error = '' }, picture) {
  card.classList.remove('pending')
  card.querySelector('.error').textContent = error
  card.querySelector('.classes').replaceChildren(...predictions.map(each => bar(each, activation)))
  if (timings) showTimes(card.querySelector('.times'), timings)
  const canvas = card.querySelector('canvas')
  if (picture) {
    const draw = () => drawPicture(canvas, picture, showMap.checked ? map : undefined, view)
    draw()
    redraws.set(card, draw)
  }
  const [best] = predictions
  canvas.setAttribute('role', 'img')
  canvas.setAttribute('aria-label', best ? `The picture, with where ${best.label} was seen` : 'The picture')
}

function bar({ label, probability }, activation) {
  const item = document.createElement('li')
  const [name, track, value] = ['span', 'span', 'span'].map(tag => document.createElement(tag))
  name.className = 'name'
  name.textContent = label
  track.className = 'track'
  const filled = document.createElement('i')
  filled.style.width = activation === 'none' ? '0%' : percent(probability).replace(' ', '')
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
    stage.append(label, ` ${ms.toFixed(1)} ms `)
    return stage
  })
  element.querySelector('p').replaceChildren(...texts)
}

function tellCounts(name, { predictions, activation, model, error }) {
  if (model) byId('server').textContent = model
  const best = predictions?.[0]
  const last = best ? `${name}: ${best.label}, ${amount(best.probability, activation)}.` : `${name}: ${error}`
  const { asked, done, failed } = counts
  const bad = failed > 0 ? `, ${failed} could not be classified` : ''
  status.textContent = asked === 1 ? last : `${done + failed} of ${asked}${bad}. ${last}`
}

// ---- Where did the network look? ----

/** From cold to hot, as `residual classify --cam` has it. */
const ramp = [
  [13, 8, 65],
  [95, 20, 140],
  [190, 50, 95],
  [245, 130, 35],
  [252, 253, 170],
]

/** A picture as large as it is shown, and how much smaller that is. */
async function readPicture(file) {
  const bitmap = await createImageBitmap(file)
  const scale = Math.min(1, largestSide / Math.max(bitmap.width, bitmap.height))
  const [width, height] = [bitmap.width, bitmap.height].map(side => Math.max(1, Math.round(side * scale)))
  const image = new OffscreenCanvas(width, height)
  const context = image.getContext('2d')
  context.imageSmoothingQuality = 'high'
  context.drawImage(bitmap, 0, 0, width, height)
  bitmap.close() // all of its pixels would be kept otherwise
  return { image, scale }
}

function drawPicture(canvas, { image, scale }, map, view) {
  canvas.width = image.width
  canvas.height = image.height
  const context = canvas.getContext('2d')
  context.imageSmoothingQuality = 'high'
  context.drawImage(image, 0, 0)
  if (!map) return
  context.globalAlpha = 0.55
  const rectangle = [view.left, view.top, view.width, view.height].map(length => length * scale)
  context.drawImage(heat(map), ...rectangle)
}

/** The map as a small picture, its least value cold and its greatest hot. */
function heat({ height, width, values }) {
  const canvas = new OffscreenCanvas(width, height)
  const context = canvas.getContext('2d')
  const image = context.createImageData(width, height)
  const least = Math.min(...values)
  const range = Math.max(...values) - least || 1
  values.forEach((value, i) => {
    const at = ((value - least) / range) * (ramp.length - 1)
    const step = Math.min(Math.floor(at), ramp.length - 2)
    ramp[step].forEach((low, c) => {
      image.data[i * 4 + c] = low + (at - step) * (ramp[step + 1][c] - low)
    })
    image.data[i * 4 + 3] = 255
  })
  context.putImageData(image, 0, 0)
  return canvas
}

// ---- How busy is the server? ----

const everyMs = 1000
const seconds = 60
const [chartWidth, chartHeight] = [300, 90]
const history = [] // of { time, pictures, buckets: Map of a batch size's upper bound to a count }

/** The sum of a metric over all its labels, or for a histogram by its buckets. */
function readMetrics(text) {
  const sample = { time: performance.now(), pictures: 0, waiting: 0, buckets: new Map(), models: [] }
  for (const line of text.split('\n')) {
    const value = Number(line.slice(line.lastIndexOf(' ') + 1))
    if (line.startsWith('residual_pictures_total')) sample.pictures += value
    else if (line.startsWith('residual_queue_pictures{')) {
      sample.waiting += value
      sample.models.push(JSON.parse(/model=("(?:[^"\\]|\\.)*")/.exec(line)[1])) // escaped as JSON has it
    } else if (line.startsWith('residual_batch_size_bucket')) {
      const bound = /le="([^"]+)"/.exec(line)[1]
      sample.buckets.set(bound, (sample.buckets.get(bound) ?? 0) + value)
    }
  }
  return sample
}

async function watch() {
  if (!document.hidden) {
    try {
      const response = await fetch('metrics')
      const sample = readMetrics(await response.text())
      offerModels(sample.models)
      history.push(sample)
      while (history.length > seconds + 1) history.shift()
      drawRate()
      drawBatches()
      byId('waiting').textContent = sample.waiting
    } catch {
      byId('rate').textContent = 'the server cannot be reached'
    }
  }
  setTimeout(watch, everyMs)
}

function drawRate() {
  const rates = history.slice(1).map((sample, i) => {
    const before = history[i]
    return Math.max(0, (1000 * (sample.pictures - before.pictures)) / (sample.time - before.time))
  })
  if (rates.length === 0) return
  const highest = Math.max(1, ...rates)
  const text = rate => rate.toFixed(rate < 10 ? 1 : 0)
  byId('rate').textContent = text(rates.at(-1))
  byId('rate-peak').textContent = text(Math.max(...rates))
  const x = i => chartWidth * (1 - (rates.length - 1 - i) / (seconds - 1))
  const y = rate => chartHeight - 2 - (rate / highest) * (chartHeight - 6)
  const points = rates.map((rate, i) => `${x(i).toFixed(1)},${y(rate).toFixed(1)}`)
  const area = svg('polygon', {
    class: 'area',
    points: `${x(0)},${chartHeight} ${points.join(' ')} ${chartWidth},${chartHeight}`,
  })
  byId('rate-chart').replaceChildren(area, svg('polyline', { class: 'line', points: points.join(' ') }))
}

function drawBatches() {
  const [first, last] = [history[0], history.at(-1)]
  let counted = 0
  let smallest = 1
  const bars = [...last.buckets].map(([bound, count]) => {
    // Batches of up to `bound` pictures. A server that has started anew counts from 0.
    const upTo = Math.max(counted, count - (first.buckets.get(bound) ?? 0))
    const own = upTo - counted
    counted = upTo
    const name = bound === '+Inf' ? `${smallest}+` : Number(bound) > smallest ? `${smallest}–${bound}` : bound
    smallest = Number(bound) + 1
    return { name, own }
  })
  const used = bars.slice(0, Math.max(6, bars.findLastIndex(({ own }) => own > 0) + 1))
  const most = Math.max(1, ...used.map(({ own }) => own))
  const width = chartWidth / used.length
  byId('batch-chart').replaceChildren(
    ...used.map(({ own }, i) => {
      const height = (own / most) * (chartHeight - 4)
      return svg('rect', { x: i * width + width * 0.15, y: chartHeight - height, width: width * 0.7, height })
    }),
  )
  byId('batch-axis').replaceChildren(
    ...used.map(({ name }) => {
      const label = document.createElement('span')
      label.textContent = name
      return label
    }),
  )
  byId('batch').textContent = counted
}

function svg(name, attributes) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  return element
}

watch()
