import { expect, it } from 'vitest'
import { alignColumns } from '../../lib/model/format-plan.ts'

it('aligns cells with escaped control characters, for any number of rows', () => {
  expect(
    alignColumns(
      [
        ['a\x1b[2J\nb', '1'],
        ['c', '22'],
      ],
      [1],
    ),
  ).toEqual(['a\\x1b[2J\\x0ab   1', 'c              22'])
  const rows = Array.from({ length: 200_000 }, (_, i) => [`${i}`, 'x'])
  expect(alignColumns(rows).at(-1)).toBe('199999  x')
})
