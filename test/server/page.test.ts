import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findModel } from '../../lib/model-record.ts'
import { packageRoot } from '../../lib/package-root.ts'
import type { RunningServer } from '../../lib/server/index.ts'
import { temporaryFolder } from '../support/files.ts'
import { ask, modelName, samplePicture, startServer } from '../support/server.ts'

const chromiumPath = process.env.RESIDUAL_CHROMIUM ?? '/usr/bin/chromium'
/** Where to put pictures of the page; nowhere unless it says so. */
const screenshots = process.env.RESIDUAL_SCREENSHOTS

function haveChromium(): boolean {
  const found = existsSync(chromiumPath)
  if (!found)
    console.warn(`skipped: ${chromiumPath} is not on this machine (Debian: apt-get install chromium)`)
  return found
}

let server: RunningServer
beforeAll(async () => {
  server = await startServer({ threads: 2 })
})
afterAll(async () => {
  await server.stop()
})

describe('the page', () => {
  it('comes with a policy that lets it load nothing from elsewhere, and needs nothing', async () => {
    const { headers, json: html } = await ask(`${server.url}/`)
    expect(headers.get('Content-Type')).toBe('text/html; charset=utf-8')
    const policy = headers.get('Content-Security-Policy')
    expect(policy).toMatch(/default-src 'none'/)
    expect(policy).not.toMatch(/unsafe|https?:|\*/)
    const files = ['index.html', 'page.css', 'page.js'].map(file =>
      readFileSync(join(packageRoot, 'page', file), 'utf8'),
    )
    expect(files[0]).toBe(html)
    for (const text of files)
      expect(text.replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:\/\/|@import|\/\/cdn/)
  })
})

describe.skipIf(!haveChromium())('the page in Chromium', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox', '--disable-gpu'] })
  })
  afterAll(() => browser?.close())

  /** The page as it is opened, and everything it complains of. */
  async function open(options: Parameters<Browser['newPage']>[0] = {}) {
    const page = await browser.newPage({ viewport: { width: 1000, height: 900 }, ...options })
    const complaints: string[] = []
    page.on('console', message => message.type() === 'error' && complaints.push(message.text()))
    page.on('pageerror', error => complaints.push(String(error)))
    page.on('request', request => {
      const url = request.url()
      if (!(url.startsWith(server.url) || url.startsWith('data:'))) complaints.push(`loads ${url}`)
    })
    await page.goto(server.url)
    return { page, complaints }
  }

  async function save(page: Page, name: string): Promise<void> {
    if (!screenshots) return
    mkdirSync(screenshots, { recursive: true })
    await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true })
  }

  const choose = (page: Page, ...names: string[]) =>
    page.setInputFiles(
      '#files',
      names.map(name => ({ name: `${name}.jpg`, mimeType: 'image/jpeg', buffer: samplePicture(name) })),
    )

  const haveClasses = (page: Page, count: number) =>
    expect.poll(() => page.locator('.classes li').count(), { timeout: 20_000 }).toBe(count)

  /** How many of a canvas's pixels are not what they are without the map. */
  const changedByMap = async (page: Page) => {
    // Compared in the page: a million numbers take half a minute to get here.
    const keep = (name: string) =>
      page.evaluate(`{
        const canvas = document.querySelector('canvas')
        window.${name} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
      }`)
    await keep('withMap')
    await page.uncheck('#show-map')
    await keep('without')
    await page.check('#show-map')
    return page.evaluate<number>('withMap.filter((value, i) => value !== without[i]).length / withMap.length')
  }

  it('classifies a picture that is dropped: labels, bars, map and times', async () => {
    const { page, complaints } = await open()
    const data = await page.evaluateHandle(`
      const dropped = new DataTransfer()
      const bytes = Uint8Array.from(atob('${samplePicture('ship').toString('base64')}'), text => text.charCodeAt(0))
      dropped.items.add(new File([bytes], 'ship.jpg', { type: 'image/jpeg' }))
      dropped
    `)
    await page.dispatchEvent('#drop', 'dragover', { dataTransfer: data })
    expect(await page.getAttribute('#drop', 'class')).toBe('over')
    await page.dispatchEvent('#drop', 'drop', { dataTransfer: data })
    await page.waitForSelector('.classes li')
    expect(await page.textContent('#status')).toMatch(/^ship\.jpg: ship, 9\d\.\d %\.$/)
    const names = await page.locator('.classes .name').allTextContents()
    expect([names[0], names.length]).toEqual(['ship', 5])
    const width = (i: number) =>
      page
        .locator('.track i')
        .nth(i)
        .evaluate(bar => bar.getBoundingClientRect().width)
    expect(await width(0)).toBeGreaterThan(20 * (await width(1)))
    expect(await page.textContent('.times p')).toMatch(
      /decode [\d.]+ ms\s+queue [\d.]+ ms\s+compute [\d.]+ ms/,
    )
    expect(await changedByMap(page)).toBeGreaterThan(0.3)
    expect(await page.textContent('#server')).toBe('resnet50-cifar10')
    expect(complaints).toEqual([])
    await page.close()
  })

  it('takes pictures that are chosen or pasted, and says what is wrong with those that are none', async () => {
    const { page, complaints } = await open()
    await choose(page, 'frog', 'truck', 'airplane')
    await haveClasses(page, 15)
    await page.evaluate(`
      const clipboardData = new DataTransfer()
      clipboardData.items.add(new File(['no picture'], 'broken.jpg', { type: 'image/jpeg' }))
      window.dispatchEvent(new ClipboardEvent('paste', { clipboardData }))
    `)
    await page.waitForSelector('.error:not(:empty)')
    expect(await page.textContent('.error')).toMatch(/none of JPEG.*\[DECODE_FAILED\]/)
    expect(await page.textContent('#status')).toMatch(/^4 of 4, 1 could not be classified/)
    // The browser itself complains of the 400.
    expect(complaints.filter(text => !text.includes('status of 400'))).toEqual([])
    await page.close()
  })

  it('takes a folder, with those in it', async () => {
    const { page, complaints } = await open()
    const folder = temporaryFolder()
    mkdirSync(join(folder, 'more', 'inside'), { recursive: true })
    writeFileSync(join(folder, 'frog.jpg'), samplePicture('frog'))
    writeFileSync(join(folder, 'notes.txt'), 'no picture')
    writeFileSync(join(folder, 'more', 'inside', 'ship.jpg'), samplePicture('ship'))
    await page.setInputFiles('#folder', folder)
    await haveClasses(page, 10)
    const titles = await page.locator('.card .title').allTextContents()
    expect(titles.sort()).toEqual(['frog.jpg', 'ship.jpg'])
    expect(complaints).toEqual([])
    await page.close()
  })

  it('keeps no whole picture, and listens to the map’s box once for all pictures', async () => {
    const page = await browser.newPage()
    await page.addInitScript(`
      window.open = 0
      window.listeners = 0
      const { createImageBitmap } = window
      window.createImageBitmap = (...args) => createImageBitmap(...args).then(bitmap => (window.open++, bitmap))
      const { close } = ImageBitmap.prototype
      ImageBitmap.prototype.close = function () {
        window.open--
        close.call(this)
      }
      const { addEventListener } = EventTarget.prototype
      EventTarget.prototype.addEventListener = function (...args) {
        if (this.id === 'show-map') window.listeners++
        addEventListener.apply(this, args)
      }
    `)
    await page.goto(server.url)
    await choose(page, 'frog', 'truck', 'airplane')
    await haveClasses(page, 15)
    expect(await page.evaluate('[open, listeners]')).toEqual([0, 1])
    await page.close()
  })

  it('lets the model be chosen by keyboard where several are served, and shows no choice where there is none', async () => {
    const folder = temporaryFolder()
    const source = findModel(modelName).path
    const record = JSON.parse(readFileSync(source.replace('.safetensors', '.json'), 'utf8'))
    const labels = record.labels.map((label: string) => `other ${label}`)
    const other = join(folder, 'other "one".safetensors')
    copyFileSync(source, other)
    writeFileSync(other.replace('.safetensors', '.json'), JSON.stringify({ ...record, labels }))
    const several = await startServer({ models: [modelName, other], threads: 1 })
    const page = await browser.newPage()
    await page.goto(several.url)
    const choice = page.getByLabel('Model')
    await choice.waitFor()
    expect(await choice.locator('option').allTextContents()).toEqual([modelName, 'other "one"'])
    await choose(page, 'ship')
    await haveClasses(page, 5)
    await page.focus('#choose-folder')
    await page.keyboard.press('Tab')
    await page.keyboard.press('ArrowDown')
    expect(await choice.inputValue()).toBe('other "one"')
    await choose(page, 'ship')
    await haveClasses(page, 10)
    expect(await page.locator('.card:first-child .name').first().textContent()).toBe('other ship')
    expect(await page.textContent('#server')).toBe('other "one"')
    await page.goto(`${several.url}/?model=${encodeURIComponent('other "one"')}`)
    await choice.waitFor()
    expect(await choice.inputValue()).toBe('other "one"')
    await page.goto(server.url)
    await page.waitForSelector('#rate-chart polyline', { state: 'attached' })
    expect(await page.isVisible('#model')).toBe(false)
    await page.close()
    await several.stop()
  })

  it('shows throughput and batch sizes as they are', async () => {
    const { page } = await open()
    await page.waitForSelector('#rate-chart polyline', { state: 'attached' })
    for (let i = 0; i < 4; i++) {
      await choose(page, 'frog', 'truck', 'airplane', 'ship', 'deer', 'automobile')
      await page.waitForTimeout(400)
    }
    await expect.poll(() => page.textContent('#batch'), { timeout: 5000 }).toMatch(/^[1-9]\d*$/)
    await haveClasses(page, 24 * 5)
    const points = await page.getAttribute('#rate-chart polyline', 'points')
    expect(new Set(points!.split(' ').map(point => point.split(',')[1])).size).toBeGreaterThan(1)
    const heights = await page
      .locator('#batch-chart rect')
      .evaluateAll(bars => bars.map(bar => Number(bar.getAttribute('height'))))
    expect(Math.max(...heights)).toBeGreaterThan(50)
    await page.evaluate(`for (const card of [...document.querySelectorAll('.card')].slice(3)) card.remove()`)
    await save(page, 'page')
    await page.close()
  })

  it('can be used with the keyboard alone', async () => {
    const { page } = await open()
    const chooser = page.waitForEvent('filechooser')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await (await chooser).setFiles({
      name: 'deer.jpg',
      mimeType: 'image/jpeg',
      buffer: samplePicture('deer'),
    })
    await page.waitForSelector('.classes li')
    await page.keyboard.press('Tab')
    expect(await page.evaluate(`document.activeElement.id`)).toBe('choose-folder')
    await page.keyboard.press('Tab')
    expect(await page.evaluate(`document.activeElement.id`)).toBe('show-map')
    await page.keyboard.press('Space')
    expect(await page.isChecked('#show-map')).toBe(false)
    await page.close()
  })

  it.each(['light', 'dark'] as const)('fits a phone, in %s', async colorScheme => {
    const { page } = await open({
      viewport: { width: 360, height: 740 },
      deviceScaleFactor: 2,
      hasTouch: true,
      colorScheme,
    })
    await choose(page, 'automobile')
    await page.waitForSelector('.classes li')
    const [inner, scroll] = await page.evaluate<number[]>(
      `[innerWidth, document.documentElement.scrollWidth]`,
    )
    expect(scroll).toBeLessThanOrEqual(inner!)
    const sizes = await page
      .locator('button')
      .evaluateAll(buttons => buttons.map(button => button.getBoundingClientRect().height))
    for (const height of sizes) expect(height).toBeGreaterThanOrEqual(44)
    const background = await page.evaluate(`getComputedStyle(document.body).backgroundColor`)
    expect(background).toBe(colorScheme === 'light' ? 'rgb(251, 250, 248)' : 'rgb(22, 24, 27)')
    await save(page, `phone-${colorScheme}`)
    await page.close()
  })
})
