// A stand-in for the electron module, for `node --import`: enough to start a main process under plain Node. Once the window has
// loaded its file it plays the page: it asks for an image's classes and for those of text, prints both answers, and quits.
import { readFileSync } from 'node:fs'
import { register } from 'node:module'

const electron = `
  import { EventEmitter } from 'node:events'
  const handlers = new Map()
  class App extends EventEmitter {
    whenReady() { return Promise.resolve() }
    quit() {
      const event = { prevented: false, preventDefault() { this.prevented = true } }
      this.emit('will-quit', event)
      if (!event.prevented) console.log('quit')
    }
  }
  export const app = new App()
  export const ipcMain = { handle: (channel, listener) => handlers.set(channel, listener) }
  export class BrowserWindow {
    constructor({ webPreferences }) { this.preload = webPreferences.preload }
    async loadFile(path) { await globalThis.playPage({ path, preload: this.preload, invoke: (channel, ...args) => handlers.get(channel)({}, ...args) }); app.emit('window-all-closed') }
  }`
const hooks = `
  export function resolve(specifier, context, next) {
    if (specifier !== 'electron') return next(specifier, context)
    return { url: ${JSON.stringify(`data:text/javascript,${encodeURIComponent(electron)}`)}, shortCircuit: true }
  }`
register(`data:text/javascript,${encodeURIComponent(hooks)}`)

globalThis.playPage = async ({ path, preload, invoke }) => {
  for (const file of [path, preload]) readFileSync(file) // both are there
  const { predictions } = await invoke('classify', new Uint8Array(readFileSync('samples/ship.jpg')))
  const { code } = await invoke('classify', new TextEncoder().encode('not an image'))
  const { error } = await invoke('classify', 'a string')
  console.log(`${predictions[0].label}, ${code}, ${error}`)
}
