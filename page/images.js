// The images a visitor gives: chosen, dropped, pasted, or samples.
import { byId } from './elements.js'

const samples = ['airplane', 'automobile', 'deer', 'frog', 'ship', 'truck']

/** Calls `take` with the files of each drop, paste or choice; not all of them need be images. */
export function onImages(take) {
  byId('choose').addEventListener('click', () => byId('files').click())
  byId('choose-folder').addEventListener('click', () => byId('folder').click())
  for (const id of ['files', 'folder'])
    byId(id).addEventListener('change', ({ target }) => {
      take([...target.files])
      target.value = '' // so that the same can be chosen again
    })

  addEventListener('paste', ({ clipboardData }) => take([...clipboardData.files]))

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
    take(entries.length > 0 ? (await Promise.all(entries.map(filesOf))).flat() : dropped)
  })

  byId('samples').append(...samples.map(name => sampleButton(name, take)))
}

/** The files below an entry of a drop, folders searched recursively. */
async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))]
  const reader = entry.createReader()
  const files = []
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))
    if (some.length === 0) return files
    for (const child of some) for (const file of await filesOf(child)) files.push(file)
  }
}

function sampleButton(name, take) {
  const button = document.createElement('button')
  button.type = 'button'
  button.className = 'sample'
  const image = document.createElement('img')
  image.src = `samples/${name}.jpg`
  image.alt = `Try the sample image: ${name}`
  button.append(image)
  button.addEventListener('click', async () => {
    const response = await fetch(image.src)
    take([new File([await response.blob()], `${name}.jpg`, { type: 'image/jpeg' })])
  })
  return button
}
