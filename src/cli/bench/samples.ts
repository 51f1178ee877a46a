/** Times, as they came: percentiles over all, and over stretches for a picture. */

export interface Summary {
  readonly count: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly max: number
}

export interface Stretch {
  readonly atMs: number
  readonly count: number
  readonly p50: number
  readonly p99: number
}

export class Samples {
  readonly #atMs: number[] = []
  readonly #tookMs: number[] = []

  add(atMs: number, tookMs: number): void {
    this.#atMs.push(atMs)
    this.#tookMs.push(tookMs)
  }

  get count(): number {
    return this.#tookMs.length
  }

  /** Of those that came since a moment: they come in the order of time. */
  since(fromMs: number): Summary {
    let first = this.#atMs.length
    while (first > 0 && (this.#atMs[first - 1] ?? 0) >= fromMs) first--
    return summary(this.#tookMs.slice(first))
  }

  all(): Summary {
    return summary(this.#tookMs)
  }

  stretches(everyMs: number): Stretch[] {
    const found = new Map<number, number[]>()
    for (const [at, tookMs] of this.#tookMs.entries()) {
      const stretch = Math.floor((this.#atMs[at] ?? 0) / everyMs)
      const times = found.get(stretch)
      if (times === undefined) found.set(stretch, [tookMs])
      else times.push(tookMs)
    }
    return [...found]
      .sort(([a], [b]) => a - b)
      .map(([stretch, times]) => {
        const { count, p50, p99 } = summary(times)
        return { atMs: stretch * everyMs, count, p50, p99 }
      })
  }
}

function summary(times: readonly number[]): Summary {
  const sorted = Float64Array.from(times).sort()
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? 0
  return { count: sorted.length, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: sorted.at(-1) ?? 0 }
}

const bars = '▁▂▃▄▅▆▇█'

/** Heights on a scale of factors: a lag of a second beside one of a millisecond would flatten all others. */
export function sparkline(values: readonly number[]): string {
  const logs = values.map((value) => Math.log(Math.max(value, 0.1)))
  const [least, most] = [Math.min(...logs), Math.max(...logs)]
  return logs
    .map((value) => bars[Math.round(((value - least) / Math.max(most - least, 1)) * (bars.length - 1))])
    .join('')
}
