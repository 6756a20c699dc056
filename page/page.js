// Images in, results out: sends what the visitor gives to /classify, a few at a time, and shows the answers. No build step:
// browsers run these files as they are.
import { byId } from './elements.js'
import { onImages } from './images.js'
import { watchServer } from './live.js'
import { chosenModel, offerModels, tellModel } from './models.js'
import { add, amount, finish, onClear } from './results.js'
import { readImage } from './thumbnails.js'

const requestsAtOnce = 4
const triesWhenFull = 20
const status = byId('status')

const waiting = []
const noCounts = () => ({ asked: 0, done: 0, failed: 0 })
let counts = noCounts() // since the results were cleared
let running = 0

onImages(files => {
  // A file without a type may still be an image; the server will tell.
  const images = files.filter(({ type }) => type === '' || type.startsWith('image/'))
  if (files.length > 0 && images.length === 0) status.textContent = 'None of these files is an image.'
  counts.asked += images.length
  for (const image of images) waiting.push(image)
  while (running < requestsAtOnce && waiting.length > 0) work()
})

onClear(() => {
  waiting.length = 0
  counts = noCounts()
  status.textContent = ''
})

async function work() {
  running++
  for (let file = waiting.shift(); file; file = waiting.shift()) {
    const result = add(file.name)
    const own = counts
    const [answer, image] = await Promise.all([
      classify(file),
      readImage(file).catch(() => undefined), // a format that the server reads and the browser does not
    ])
    own[answer.error === undefined ? 'done' : 'failed']++
    await finish(result, { ...answer, image })
    if (own === counts) tellCounts(result)
  }
  running--
}

async function classify(file) {
  const query = new URLSearchParams({ map: 'true' })
  const model = chosenModel()
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
      if (response.ok) return { model: json.model, activation: json.activation, ...json.results[0] }
      return { model, error: json.error, code: response.headers.get('Residual-Error') }
    } catch {
      return { model, error: 'The server cannot be reached.' }
    }
  }
}

function tellCounts({ name, model, activation, predictions, problem }) {
  if (model) tellModel(model)
  const best = predictions?.[0]
  const last = best
    ? `${name}: ${best.label}, ${amount(best.probability, activation)}.`
    : `${name}: ${problem}`
  const { asked, done, failed } = counts
  const bad = failed > 0 ? `, ${failed} could not be classified` : ''
  const whole = `${done + failed} of ${asked}${bad}.`
  status.textContent = asked === 1 ? last : best ? `${whole} ${last}` : whole
}

watchServer(offerModels)
