/** What is going to happen, soonest first; of two things at one time the one that was planned first. */

interface Planned {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

export class Agenda {
  readonly #heap: Planned[] = []
  #order = 0

  get size(): number {
    return this.#heap.length
  }

  /** When the next thing happens; Infinity when nothing is planned. */
  get nextAt(): number {
    return this.#heap[0]?.at ?? Infinity
  }

  plan(at: number, run: () => void): void {
    const heap = this.#heap
    const one = { at, order: this.#order++, run }
    let place = heap.length
    heap.push(one)
    while (place > 0) {
      const above = (place - 1) >> 1
      const parent = heap[above] as Planned
      if (isBefore(parent, one)) break
      heap[place] = parent
      place = above
    }
    heap[place] = one
  }

  /** Takes the next thing out. */
  next(): Planned | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let place = 0
    for (;;) {
      let below = 2 * place + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && isBefore(heap[below + 1] as Planned, heap[below] as Planned)) below++
      const child = heap[below] as Planned
      if (isBefore(last, child)) break
      heap[place] = child
      place = below
    }
    heap[place] = last
    return first
  }
}

function isBefore(a: Planned, b: Planned): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
