// What the page may do: ask for an image's classes, nothing else.
const { contextBridge, ipcRenderer } = require('electron')

contextBridge.exposeInMainWorld('classify', bytes => ipcRenderer.invoke('classify', bytes))
