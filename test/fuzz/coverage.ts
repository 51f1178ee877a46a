/**
 * Which code has run, from V8's own block coverage: the feedback that makes mutation a search. Start it before the code
 * that is to be covered is loaded. It costs a run some half of its speed and 0.5 ms for each look, so looks are rare.
 */
import { Session } from 'node:inspector'

interface Range {
  readonly startOffset: number
  readonly endOffset: number
  readonly count: number
}

interface ScriptCoverage {
  readonly url: string
  readonly functions: readonly { readonly ranges: readonly Range[] }[]
}

export class Coverage {
  readonly #session = new Session()
  /** By function: one byte for each character of its source, 1 once it has run. */
  readonly #known = new Map<string, Uint8Array>()
  #characters = 0

  constructor() {
    this.#session.connect()
    this.#post('Profiler.enable')
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  }

  /** Characters of source that have run. */
  get characters(): number {
    return this.#characters
  }

  /** Has anything run since the last look that had never run before? */
  look(): boolean {
    return this.#look(true)
  }

  /** The same, without taking note: for a batch whose inputs are looked at one by one if so. */
  peek(): boolean {
    return this.#look(false)
  }

  #look(note: boolean): boolean {
    let fresh = false
    const { result } = this.#post('Profiler.takePreciseCoverage') as { result: readonly ScriptCoverage[] }
    for (const { url, functions } of result) {
      if (!url.includes('/src/')) continue
      for (const { ranges } of functions) if (this.#paint(url, ranges, note)) fresh = true
    }
    return fresh
  }

  #paint(url: string, ranges: readonly Range[], note: boolean): boolean {
    const [whole] = ranges
    if (whole === undefined || whole.count === 0) return false
    const name = `${url}:${whole.startOffset}:${whole.endOffset}`
    const length = whole.endOffset - whole.startOffset
    const ran = new Uint8Array(length)
    for (const { startOffset, endOffset, count } of ranges) {
      ran.fill(count > 0 ? 1 : 0, startOffset - whole.startOffset, endOffset - whole.startOffset)
    }
    const known = this.#known.get(name) ?? new Uint8Array(length)
    let fresh = 0
    for (let i = 0; i < length; i++) {
      if (ran[i] !== 1 || known[i] === 1) continue
      fresh++
      if (note) known[i] = 1
    }
    if (note) {
      this.#known.set(name, known)
      this.#characters += fresh
    }
    return fresh > 0
  }

  stop(): void {
    this.#session.disconnect()
  }

  #post(method: string, parameters: object = {}): unknown {
    let answer: unknown
    this.#session.post(method, parameters, (error, result) => {
      if (error !== null) throw error
      answer = result
    })
    return answer
  }
}
