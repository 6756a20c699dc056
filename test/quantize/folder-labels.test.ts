import { describe, expect, it } from 'vitest'
import { labelsOfFolders } from '../../lib/quantize/folder-labels.ts'

const labels = ['tench, Tinca tinca', 'hot_dog', 'Great White']

describe('classes of images in folders', () => {
  it('are those whose names the folders have, in any case and with any spaces', () => {
    const paths = ['i/tench/1.jpg', 'i/Tinca_Tinca/x/2.jpg', 'i/hot dog/3.jpg', 'i/GREAT-white/4.jpg']
    expect(labelsOfFolders(paths, 'i', labels)).toEqual({ labels: [0, 0, 1, 2], by: 'names', unknown: [] })
    expect(labelsOfFolders(paths, 'i/', labels).labels).toEqual([0, 0, 1, 2])
  })

  it('are unknown for images in other folders and in none', () => {
    expect(labelsOfFolders(['i/tench/1.jpg', 'i/shark/2.jpg', 'i/3.jpg'], 'i', labels)).toEqual({
      labels: [0, undefined, undefined],
      by: 'names',
      unknown: ['shark'],
    })
  })

  it('may be numbers, or in the order of as many folders as classes', () => {
    expect(labelsOfFolders(['i/2/a.jpg', 'i/0/b.jpg'], 'i', labels)).toMatchObject({
      labels: [2, 0],
      by: 'numbers',
    })
    const synsets = ['i/n3/a.jpg', 'i/n1/b.jpg', 'i/n2/c.jpg']
    expect(labelsOfFolders(synsets, 'i', labels)).toEqual({ labels: [2, 0, 1], by: 'order', unknown: [] })
  })

  it('are unknown where nothing tells them', () => {
    for (const paths of [['i/a.jpg'], ['i/x/a.jpg', 'i/y/b.jpg'], ['i/7/a.jpg']])
      expect(labelsOfFolders(paths, 'i', labels)).toEqual({
        labels: paths.map(() => undefined),
        by: 'nothing',
        unknown: [],
      })
  })
})
