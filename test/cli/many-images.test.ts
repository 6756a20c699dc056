import type { Stats } from 'node:fs'
import { expect, it, vi } from 'vitest'
import { findInputs } from '../../lib/cli/classify/inputs.ts'
import { tableReport } from '../../lib/cli/classify/report.ts'

const count = 150_000

/** A folder that no disk has to hold. */
vi.mock('node:fs/promises', async original => {
  const folder = { isDirectory: () => true, isFile: () => false, dev: 1, ino: 1 } as Stats
  return {
    ...(await original<typeof import('node:fs/promises')>()),
    stat: async (path: string) => {
      if (path === 'many') return folder
      throw new Error('no such file')
    },
    readdir: async () =>
      Array.from({ length: count }, (_, i) => ({
        name: `${String(count - 1 - i).padStart(6, '0')}.jpg`,
        isDirectory: () => false,
        isFile: () => true,
        isSymbolicLink: () => false,
      })),
  }
})

it.each(['many', 'many/*.jpg'])(
  'takes 150,000 images of %s, and prints the first row of their table',
  async path => {
    const { inputs, failures } = await findInputs([path])
    expect([inputs.length, failures.length]).toEqual([count, 0])
    expect(inputs[0]!.name).toBe('many/000000.jpg')
    expect(inputs[count - 1]!.name).toBe('many/149999.jpg')
    const print = vi.spyOn(console, 'log').mockImplementation(() => {})
    const report = tableReport(
      inputs.map(({ name }) => name),
      'top 5',
      'softmax',
      false,
    )
    expect(print.mock.calls).toEqual([])
    report.success('many/000000.jpg', [], 1, undefined)
    expect(print.mock.calls[0]).toEqual([`${'file'.padEnd('many/000000.jpg'.length)}        ms  top 5`])
    print.mockRestore()
  },
)
