import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { findModel } from '../../lib/model-record.ts'
import type { RunningServer } from '../../lib/server/index.ts'
import { temporaryFolder } from '../support/files.ts'
import { ask, modelName, sampleImage, startServer } from '../support/server.ts'

const chromiumPath = process.env.RESIDUAL_CHROMIUM ?? '/usr/bin/chromium'
/** Where to put images of the page, such as those in docs/; nowhere unless it says so. */
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
  it('has a policy that forbids loading anything from elsewhere, and needs nothing from there', async () => {
    const { headers, json: html } = await ask(`${server.url}/`)
    expect(headers.get('Content-Type')).toBe('text/html; charset=utf-8')
    const policy = headers.get('Content-Security-Policy')
    expect(policy).toMatch(/default-src 'none'/)
    expect(policy).not.toMatch(/unsafe|https?:|\*/)
    const files = readdirSync(join(packageRoot, 'page'))
    expect(html).toBe(readFileSync(join(packageRoot, 'page', 'index.html'), 'utf8'))
    for (const file of files) {
      const text = readFileSync(join(packageRoot, 'page', file), 'utf8')
      const path = file === 'index.html' ? '' : file
      expect((await ask(`${server.url}/${path}`)).json).toBe(text)
      expect(text.replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:\/\/|@import|\/\/cdn/)
    }
  })

  it("can fetch a model's classes, and has samples", async () => {
    const { json } = await ask(`${server.url}/classes?model=${modelName}`)
    const { labels } = JSON.parse(
      readFileSync(findModel(modelName).path.replace('.safetensors', '.json'), 'utf8'),
    )
    expect(json).toEqual({ model: modelName, classes: labels })
    expect((await ask(`${server.url}/classes`)).json).toEqual(json)
    expect((await ask(`${server.url}/classes?model=other`)).status).toBe(404)
    for (const query of ['model=a&model=b', 'name=a'])
      expect((await ask(`${server.url}/classes?${query}`)).status).toBe(400)
    const sample = await fetch(`${server.url}/samples/ship.jpg`)
    expect(sample.headers.get('Content-Type')).toBe('image/jpeg')
    expect(Buffer.from(await sample.arrayBuffer())).toEqual(sampleImage('ship'))
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

  async function photograph(page: Page, name: string): Promise<void> {
    if (!screenshots) return
    mkdirSync(screenshots, { recursive: true })
    const image = await page.screenshot({ fullPage: true })
    await sharp(image)
      .png({ palette: true })
      .toFile(join(screenshots, `${name}.png`)) // a third of the bytes
  }

  /** What a button has the browser save. */
  async function save(button: string, page: Page): Promise<Buffer> {
    const download = page.waitForEvent('download')
    await page.click(button)
    return readFileSync(await (await download).path())
  }

  const choose = (page: Page, ...names: string[]) =>
    page.setInputFiles(
      '#files',
      names.map(name => ({ name: `${name}.jpg`, mimeType: 'image/jpeg', buffer: sampleImage(name) })),
    )

  const haveClasses = (page: Page, count: number) =>
    expect.poll(() => page.locator('.classes li').count(), { timeout: 20_000 }).toBe(count)

  const same = 'withMap.every((value, i) => value === without[i])'

  /** How many of a canvas's pixels are not what they are without the map. */
  const changedByMap = async (page: Page) => {
    // Compared in the page: a million numbers take half a minute to get here.
    const keep = (name: string) =>
      page.evaluate(`{
        const canvas = document.querySelector('canvas')
        window.${name} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
      }`)
    await keep('without')
    await page.click('.map-button')
    await page.waitForSelector('canvas[aria-label*="was seen"]')
    await expect.poll(() => keep('withMap').then(() => page.evaluate(same)), { timeout: 5000 }).toBe(false)
    return page.evaluate<number>('withMap.filter((value, i) => value !== without[i]).length / withMap.length')
  }

  it('classifies an image that is dropped: labels, bars, map and times', async () => {
    const { page, complaints } = await open()
    const data = await page.evaluateHandle(`
      const dropped = new DataTransfer()
      const bytes = Uint8Array.from(atob('${sampleImage('ship').toString('base64')}'), text => text.charCodeAt(0))
      dropped.items.add(new File([bytes], 'ship.jpg', { type: 'image/jpeg' }))
      dropped
    `)
    await page.dispatchEvent('#drop', 'dragover', { dataTransfer: data })
    expect(await page.getAttribute('#drop', 'class')).toBe('over')
    await page.dispatchEvent('#drop', 'drop', { dataTransfer: data })
    await page.waitForSelector('.classes li')
    await expect.poll(() => page.textContent('#status')).toMatch(/^ship\.jpg: ship, 9\d\.\d\s%\.$/)
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

  it('accepts chosen and pasted images, and explains files that are not images', async () => {
    const { page, complaints } = await open()
    await choose(page, 'frog', 'truck', 'airplane')
    await haveClasses(page, 15)
    await page.evaluate(`
      const clipboardData = new DataTransfer()
      clipboardData.items.add(new File(['no image'], 'broken.jpg', { type: 'image/jpeg' }))
      window.dispatchEvent(new ClipboardEvent('paste', { clipboardData }))
    `)
    await page.waitForSelector('.error:not(:empty)')
    expect(await page.textContent('.error')).toBe(
      'This is not an image, or it is damaged. The server reads JPEG, PNG, WebP, GIF, TIFF and AVIF.',
    )
    await expect.poll(() => page.textContent('#status')).toBe('4 of 4, 1 could not be classified.')
    // The browser itself complains of the 400.
    expect(complaints.filter(text => !text.includes('status of 400'))).toEqual([])
    await page.close()
  })

  it('accepts a folder and its subfolders', async () => {
    const { page, complaints } = await open()
    const folder = temporaryFolder()
    mkdirSync(join(folder, 'more', 'inside'), { recursive: true })
    writeFileSync(join(folder, 'frog.jpg'), sampleImage('frog'))
    writeFileSync(join(folder, 'notes.txt'), 'no image')
    writeFileSync(join(folder, 'more', 'inside', 'ship.jpg'), sampleImage('ship'))
    await page.setInputFiles('#folder', folder)
    await haveClasses(page, 10)
    const titles = await page.locator('.card .title').allTextContents()
    expect(titles.sort()).toEqual(['frog.jpg', 'ship.jpg'])
    expect(complaints).toEqual([])
    await page.close()
  })

  it('keeps no whole image, and listens to the map’s box once for all images', async () => {
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
    await page.check('#show-map')
    await page.waitForSelector('canvas[aria-label*="was seen"]')
    await expect.poll(() => page.evaluate('[open, listeners]')).toEqual([0, 1])
    await page.close()
  })

  it('shows maps only when asked, of all images or of one', async () => {
    const { page } = await open()
    const shown = () => page.locator('canvas[aria-label*="was seen"]').count()
    await choose(page, 'frog', 'truck', 'airplane')
    await haveClasses(page, 15)
    expect(await shown()).toBe(0)
    await page.locator('.map-button').nth(1).click()
    await expect.poll(shown).toBe(1)
    expect(await page.locator('.map-button[aria-pressed=true]').count()).toBe(1)
    await page.check('#show-map')
    await expect.poll(shown).toBe(3)
    await page.locator('.map-button').first().click()
    await expect.poll(shown).toBe(2)
    await page.close()
  })

  it('keeps the results of a hundred images, shows sixty and offers the rest; they can be cleared', async () => {
    const { page } = await open()
    const buffer = await sharp(sampleImage('ship')).resize(64).jpeg().toBuffer()
    const mimeType = 'image/jpeg'
    const files = Array.from({ length: 100 }, (_, i) => ({ name: `p${i}.jpg`, mimeType, buffer }))
    await page.setInputFiles('#files', files)
    await expect.poll(() => page.textContent('#status'), { timeout: 60_000 }).toMatch(/^100 of 100\./)
    expect(await page.locator('.card').count()).toBe(60)
    expect(await page.textContent('#more')).toBe('Show 40 more of 40 older results')
    await page.click('#more')
    expect(await page.locator('.card').count()).toBe(100)
    expect(await page.isVisible('#more')).toBe(false)
    await haveClasses(page, 500)
    const saved = JSON.parse((await save('#save-json', page)).toString())
    expect(saved).toHaveLength(100)
    await page.click('#clear')
    expect(await page.locator('.card').count()).toBe(0)
    expect([await page.isVisible('#tools'), await page.textContent('#status')]).toEqual([false, ''])
    await page.click('.sample >> nth=4')
    await haveClasses(page, 5)
    await expect.poll(() => page.textContent('#status')).toMatch(/^ship\.jpg: ship/)
    await page.close()
  }, 180_000)

  it('saves results as CSV and JSON, failures included', async () => {
    const { page } = await open()
    const image = { name: 'a "b", c.jpg', mimeType: 'image/jpeg', buffer: sampleImage('ship') }
    await page.setInputFiles('#files', [image])
    await haveClasses(page, 5)
    await page.setInputFiles('#files', [{ ...image, name: 'broken.jpg', buffer: Buffer.from('no image') }])
    await page.waitForSelector('.error:not(:empty)')
    const [ship, broken] = JSON.parse((await save('#save-json', page)).toString())
    expect(ship).toMatchObject({ name: image.name, model: modelName })
    expect(ship.predictions[0]).toEqual({ index: 8, label: 'ship', probability: expect.any(Number) })
    expect(broken).toMatchObject({ name: 'broken.jpg', error: expect.stringContaining('[DECODE_FAILED]') })
    const [head, first, second] = (await save('#save-csv', page)).toString().split('\r\n')
    expect(head).toMatch(/^name,model,error,class 1,probability 1,.*,class 5,probability 5$/)
    expect(first).toMatch(/^"a ""b"", c\.jpg",resnet50-cifar10,,ship,0\.9\d+,/)
    expect(second).toMatch(/^broken\.jpg,resnet50-cifar10,".*\[DECODE_FAILED\]"$/)
    await page.close()
  })

  it("shows the model's classes, which model gave each answer, and the command line for it", async () => {
    const page = await browser.newPage()
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: server.url })
    await page.goto(server.url)
    await choose(page, 'ship')
    await haveClasses(page, 5)
    expect(await page.textContent('.card .model')).toBe(modelName)
    await page.click('#known summary')
    await expect.poll(() => page.textContent('#known summary')).toBe('What it knows: 10 classes')
    expect((await page.locator('#known-classes li').allTextContents()).sort()).toEqual([
      'airplane',
      'automobile',
      'bird',
      'cat',
      'deer',
      'dog',
      'frog',
      'horse',
      'ship',
      'truck',
    ])
    await page.click('#command summary')
    const command = `curl --data-binary @photo.jpg '${server.url}/classify'`
    expect(await page.textContent('#curl')).toBe(command)
    await page.click('#copy')
    await expect.poll(() => page.textContent('#copy')).toBe('Copied')
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(command)
    await page.close()
  })

  it('shows no rows of 0.0 % and no empty charts, and never breaks a percentage', async () => {
    const quiet = await startServer({ threads: 1 })
    const { page } = await open({ viewport: { width: 360, height: 740 } })
    await page.goto(quiet.url)
    await page.waitForSelector('#rate-chart polyline', { state: 'attached' })
    expect(await page.isVisible('#rate-chart')).toBe(false)
    expect(await page.textContent('#idle')).toBe('No images.')
    const sure = [1, 0.0006, 0.0004, 0].map((probability, index) => ({
      index,
      label: `class ${index}`,
      probability,
    }))
    const timings = { decodeMs: 1, queueMs: 1, computeMs: 1 }
    await page.route('**/classify?*', route =>
      route.fulfill({ json: { model: modelName, results: [{ predictions: sure, timings }] } }),
    )
    await choose(page, 'ship')
    await haveClasses(page, 2)
    expect(await page.locator('.classes .value').allTextContents()).toEqual(['100.0\u00a0%', '0.1\u00a0%'])
    const heights = await page
      .locator('.classes li')
      .evaluateAll(rows => rows.map(row => row.getBoundingClientRect().height))
    expect(Math.abs(heights[0]! - heights[1]!)).toBeLessThan(1)
    await page.unroute('**/classify?*')
    await choose(page, 'ship')
    await expect.poll(() => page.isVisible('#rate-chart'), { timeout: 5000 }).toBe(true)
    expect(await page.isVisible('#idle')).toBe(false)
    await page.close()
    await quiet.stop()
  })

  it('lets the model be chosen by keyboard if several are served, and shows no choice otherwise', async () => {
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
    await page.focus('.sample:last-child')
    await page.keyboard.press('Tab')
    await page.keyboard.press('ArrowDown')
    expect(await choice.inputValue()).toBe('other "one"')
    await choose(page, 'ship')
    await haveClasses(page, 10)
    expect(await page.locator('.card:first-child .name').first().textContent()).toBe('other ship')
    expect(await page.textContent('#server')).toBe('other "one"')
    expect(await page.locator('.card .model').allTextContents()).toEqual(['other "one"', modelName])
    expect(await page.textContent('#curl')).toContain('classify?model=other+%22one%22')
    await expect.poll(() => page.textContent('#known-classes')).toMatch(/^other /)
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
    await page.locator('.map-button').nth(1).click()
    await page.evaluate(`for (const card of [...document.querySelectorAll('.card')].slice(3)) card.remove()`)
    await page.waitForTimeout(300)
    await photograph(page, 'page')
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
      buffer: sampleImage('deer'),
    })
    await page.waitForSelector('.classes li')
    const focused = () =>
      page.evaluate<string>(`document.activeElement.id || document.activeElement.className`)
    const met: string[] = []
    for (let i = 0; i < 14; i++) {
      await page.keyboard.press('Tab')
      met.push(await focused())
      if (met.at(-1) === 'show-map') await page.keyboard.press('Space')
    }
    const samples = Array.from({ length: 6 }, () => 'sample')
    const tools = ['show-map', 'save-csv', 'save-json', 'clear']
    expect(met).toEqual(['choose-folder', ...samples, '', '', ...tools, 'map-button small'])
    expect(await page.isChecked('#show-map')).toBe(true)
    await page.waitForSelector('canvas[aria-label*="was seen"]')
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
      .locator('button:visible')
      .evaluateAll(buttons => buttons.map(button => button.getBoundingClientRect().height))
    for (const height of sizes) expect(height).toBeGreaterThanOrEqual(44)
    const background = await page.evaluate(`getComputedStyle(document.body).backgroundColor`)
    expect(background).toBe(colorScheme === 'light' ? 'rgb(251, 250, 248)' : 'rgb(22, 24, 27)')
    await photograph(page, colorScheme === 'dark' ? 'page-phone' : 'page-phone-light')
    await page.close()
  })
})
