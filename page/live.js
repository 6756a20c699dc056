// The server's load: its metrics of the last minute, drawn.
import { byId } from './elements.js'

const everyMs = 1000
const seconds = 60
const [chartWidth, chartHeight] = [300, 90]
const history = [] // of { time, images, buckets: Map of a batch size's upper bound to a count }

/** The sum of a metric over all its labels, or for a histogram by its buckets. */
function readMetrics(text) {
  const sample = { time: performance.now(), images: 0, waiting: 0, buckets: new Map(), models: [] }
  for (const line of text.split('\n')) {
    const value = Number(line.slice(line.lastIndexOf(' ') + 1))
    if (line.startsWith('residual_pictures_total')) sample.images += value
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

/** Draws the metrics every second, and calls `onModels` with the names of the models that are served. */
export async function watchServer(onModels) {
  if (!document.hidden) {
    try {
      const response = await fetch('metrics')
      const sample = readMetrics(await response.text())
      onModels(sample.models)
      history.push(sample)
      while (history.length > seconds + 1) history.shift()
      showCharts()
      drawRate()
      drawBatches()
      byId('waiting').textContent = sample.waiting
    } catch {
      history.length = 0
      showCharts()
      byId('idle').textContent = 'The server cannot be reached.'
    }
  }
  setTimeout(() => watchServer(onModels), everyMs)
}

/** Shows the charts only when there is something to see. */
function showCharts() {
  const busy = history.length > 0 && history[0].images < history.at(-1).images
  byId('idle').hidden = busy
  byId('idle').textContent = 'No images.'
  for (const figure of document.querySelectorAll('.live figure')) figure.hidden = !busy
}

function drawRate() {
  const rates = history.slice(1).map((sample, i) => {
    const before = history[i]
    return Math.max(0, (1000 * (sample.images - before.images)) / (sample.time - before.time))
  })
  if (rates.length === 0) return
  if (rates.length === 1) rates.unshift(0) // one point is not a line
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
    // Batches of up to `bound` images. A restarted server counts from 0.
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
