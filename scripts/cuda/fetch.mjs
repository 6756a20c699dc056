// Downloads the wheels of scripts/cuda/wheels.mjs with pip and unpacks them into a folder. A manifest, written last, lists the
// wheels and the length of every file, so that a folder is either whole or known to be incomplete.
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { downloadAndUnpack, explain } from './pip.mjs'
import { pinned } from './wheels.mjs'

/** @typedef {import('./wheels.mjs').Wheel} Wheel */

const inventory = folder => join(folder, 'complete.json')

/** By wheel: its version, its hashes, and the length of each file. Empty for a folder that was never completed. */
function readInventory(folder) {
  try {
    return JSON.parse(readFileSync(inventory(folder), 'utf8'))
  } catch {
    return {}
  }
}

const bytesOf = path => statSync(path, { throwIfNoEntry: false })?.size

/**
 * The `wheels` that `folder` lacks, has in another version, or has damaged: a file is missing or of the wrong length.
 *
 * @param {string} folder
 * @param {readonly Wheel[]} wheels
 * @returns {Wheel[]}
 */
export function missingWheels(folder, wheels) {
  const present = readInventory(folder)
  return wheels.filter(({ name, version, sha256 }) => {
    const wheel = present[name]
    return (
      wheel?.version !== version ||
      String(wheel.sha256) !== String(sha256) ||
      !Object.entries(wheel.files).every(([file, bytes]) => bytesOf(join(folder, file)) === bytes)
    )
  })
}

/**
 * Brings `wheels` into `folder`, unless they are there; anything else in it that is whole and as pinned stays. Several processes
 * may do so at once: each fills a folder of its own and moves it into place when it is whole.
 *
 * @param {string} folder
 * @param {readonly Wheel[]} wheels
 * @throws {Error} in one line that says what to do
 */
export function fetchWheels(folder, wheels) {
  const missing = missingWheels(folder, wheels)
  if (missing.length === 0) return
  removeLeftovers(folder)
  const staging = `${folder}.${process.pid}.tmp`
  try {
    const whole = join(staging, 'whole')
    mkdirSync(whole, { recursive: true })
    const filesOf = downloadAndUnpack(missing, staging, whole)
    const present = readInventory(folder)
    const kept = pinned.filter(
      wheel => !filesOf[wheel.name] && present[wheel.name] && missingWheels(folder, [wheel]).length === 0,
    )
    for (const { name } of kept) {
      filesOf[name] = Object.keys(present[name].files)
      for (const file of filesOf[name]) share(folder, whole, file)
    }
    const entries = [...missing, ...kept].map(({ name, version, sha256 }) => {
      const files = Object.fromEntries(filesOf[name].map(file => [file, bytesOf(join(whole, file))]))
      return [name, { version, sha256, files }]
    })
    writeFileSync(inventory(whole), JSON.stringify(Object.fromEntries(entries)))
    if (existsSync(folder)) renameSync(folder, join(staging, 'old'))
    renameSync(whole, folder)
  } catch (error) {
    // If none is missing, another process was faster.
    if (missingWheels(folder, wheels).length > 0) throw explain(error, folder)
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

/** Removes what killed processes left behind. */
function removeLeftovers(folder) {
  const above = dirname(folder)
  for (const entry of existsSync(above) ? readdirSync(above) : []) {
    if (!entry.startsWith(`${basename(folder)}.`)) continue
    const pid = /^\.(\d+)\.tmp$/.exec(entry.slice(basename(folder).length))?.[1]
    if (pid && !isRunning(Number(pid))) rmSync(join(above, entry), { recursive: true, force: true })
  }
}

function isRunning(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** Puts a file of one folder into another: as a hard link where the file system allows it, otherwise as a copy. */
function share(from, to, file) {
  mkdirSync(dirname(join(to, file)), { recursive: true })
  if (existsSync(join(to, file))) return // wheels may have files in common
  try {
    linkSync(join(from, file), join(to, file))
  } catch {
    copyFileSync(join(from, file), join(to, file))
  }
}
