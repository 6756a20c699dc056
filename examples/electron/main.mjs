// Electron's main process: it owns the classifier, and pages ask it over IPC. Pages get no access to Node.
//
//   npx electron examples/electron/main.mjs
//
// The addon uses Node-API 8, so the one that npm built runs in Electron without a rebuild. Unpack it when you package the app
// (asarUnpack: '**/*.node'). CI runs this file with a stand-in for the electron module.
import { fileURLToPath } from 'node:url'
import { app, BrowserWindow, ipcMain } from 'electron'
import { load, ResidualError } from 'residual'

const here = name => fileURLToPath(new URL(name, import.meta.url))
const loading = load('resnet50-cifar10') // begins while the window opens
loading.catch(() => {}) // the first request reports it

ipcMain.handle('classify', async (_event, bytes) => {
  if (!(bytes instanceof Uint8Array)) return { error: 'Expected the bytes of an image' } // a page may send anything
  try {
    const classifier = await loading
    const [predictions] = await classifier.classify([bytes], { topK: 3 })
    return { predictions }
  } catch (error) {
    if (!(error instanceof ResidualError)) throw error
    return { error: error.message, code: error.code }
  }
})

let closed = false
app.on('will-quit', async event => {
  if (closed) return
  event.preventDefault()
  await loading.then(
    classifier => classifier.close(),
    () => {},
  )
  closed = true
  app.quit()
})
app.on('window-all-closed', () => app.quit())

// Not awaited at the top level: Electron is ready only once this module has been evaluated.
app.whenReady().then(async () => {
  const window = new BrowserWindow({
    width: 640,
    height: 480,
    webPreferences: { preload: here('preload.cjs') },
  })
  await window.loadFile(here('index.html'))
})
