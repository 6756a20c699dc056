// The model that answers: the visitor's choice, what the model knows, and how to query it from a command line.
import { byId } from './elements.js'

const models = byId('model')
const wanted = new URLSearchParams(location.search).get('model')
const searchFrom = 30 // classes: fewer are seen at a glance

/** Undefined until the list is there, unless the address names one. */
export const chosenModel = () => models.value || wanted || undefined

/** Lets the visitor choose where there is something to choose from; the first is the server's own choice. */
export function offerModels(names) {
  const known = [...models.options].map(({ value }) => value)
  if (names.join('\n') === known.join('\n')) return
  const chosen = models.value || wanted
  models.replaceChildren(...names.map(name => new Option(name)))
  if (names.includes(chosen)) models.value = chosen
  byId('model-choice').hidden = names.length < 2
  showModel()
}

/** The model that answered last. */
export function tellModel(name) {
  byId('server').textContent = name
}

models.addEventListener('change', showModel)

function showModel() {
  tellModel(models.value)
  tellCommand()
  showClasses(models.value)
}

// ---- Its classes ----

let classes = []
const search = byId('known-search')

async function showClasses(model) {
  const response = await fetch(`classes?${new URLSearchParams({ model })}`)
  if (!response.ok || model !== models.value) return
  classes = (await response.json()).classes
  byId('known-count').textContent =
    classes.length === 1 ? ': 1 class' : `: ${classes.length.toLocaleString('en')} classes`
  search.hidden = classes.length < searchFrom
  search.value = ''
  listClasses()
}

search.addEventListener('input', listClasses)

function listClasses() {
  const text = search.value.toLowerCase()
  byId('known-classes').replaceChildren(
    ...classes
      .filter(label => label.toLowerCase().includes(text))
      .map(label => {
        const item = document.createElement('li')
        item.textContent = label
        return item
      }),
  )
}

// ---- The command line ----

function tellCommand() {
  const url = new URL('classify', location.href)
  if (models.options.length > 1) url.searchParams.set('model', models.value)
  const quoted = url.href.replaceAll("'", '%27') // it goes between these
  byId('curl').textContent = `curl --data-binary @photo.jpg '${quoted}'`
}
tellCommand()

byId('copy').addEventListener('click', async ({ target }) => {
  const command = byId('curl')
  try {
    await navigator.clipboard.writeText(command.textContent) // pages from other machines have none unless encrypted
    target.textContent = 'Copied'
  } catch {
    getSelection().selectAllChildren(command)
    target.textContent = 'Selected'
  }
  setTimeout(() => {
    target.textContent = 'Copy'
  }, 2000)
})
