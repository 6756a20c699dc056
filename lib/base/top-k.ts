// The indices of the k largest values, found in one pass without a full sort.

/** The indices of the `count` largest values, largest first; of equal values the earlier comes first. */
export function topIndices(values: Float32Array, count: number): number[] {
  const places: number[] = [] // a heap: each entry precedes those at 2i + 1 and 2i + 2, so the smallest is on top
  const before = (a: number, b: number) => values[a]! < values[b]! || (values[a]! === values[b]! && a > b)
  const most = Math.min(count, values.length)
  for (let place = 0; place < values.length; place++) {
    if (places.length < most) rise(places, place, before)
    else if (before(places[0]!, place)) sink(places, place, before)
  }
  return places.sort((a, b) => values[b]! - values[a]! || a - b)
}

type Before = (a: number, b: number) => boolean

/** Adds `place` to a heap. */
function rise(heap: number[], place: number, before: Before): void {
  let at = heap.length
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!before(place, heap[parent]!)) break
    heap[at] = heap[parent]!
    at = parent
  }
  heap[at] = place
}

/** Replaces the top of a heap by `place`. */
function sink(heap: number[], place: number, before: Before): void {
  let at = 0
  for (;;) {
    let child = 2 * at + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
    if (!before(heap[child]!, place)) break
    heap[at] = heap[child]!
    at = child
  }
  heap[at] = place
}
