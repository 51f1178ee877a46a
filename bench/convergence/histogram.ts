/**
 * Counts of durations in buckets of nearly equal relative width, as HDR histograms have them: from one unit to hours with an
 * error below 0.8 %, in a few kilobytes, merged by adding.
 */
const partsBits = 6
const parts = 1 << partsBits

function bucketOf(value: number): number {
  const whole = Math.max(0, Math.round(value))
  if (whole < 2 * parts) return whole
  const shift = Math.floor(Math.log2(whole)) - partsBits
  return shift * parts + Math.floor(whole / 2 ** shift)
}

/** The middle of a bucket. */
function valueOf(bucket: number): number {
  if (bucket < 2 * parts) return bucket
  const shift = Math.floor(bucket / parts) - 1
  return (bucket - shift * parts + 0.5) * 2 ** shift
}

/** Pairs of bucket and count, so that it goes into JSON. */
export interface HistogramData {
  readonly counts: readonly (readonly [bucket: number, count: number])[]
  readonly max: number
}

export class Histogram {
  readonly #counts = new Map<number, number>()
  count = 0
  /** Exact. */
  max = 0

  record(value: number): void {
    const bucket = bucketOf(value)
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + 1)
    this.count++
    if (value > this.max) this.max = value
  }

  add({ counts, max }: HistogramData): void {
    for (const [bucket, count] of counts) {
      this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + count)
      this.count += count
    }
    if (max > this.max) this.max = max
  }

  /** The value that this share of what was recorded does not exceed; NaN when nothing was. */
  quantile(share: number): number {
    let left = Math.max(1, Math.ceil(share * this.count))
    for (const [bucket, count] of this.#sorted()) {
      left -= count
      if (left <= 0) return Math.min(valueOf(bucket), this.max)
    }
    return Number.NaN
  }

  /** Share of what was recorded up to each value: the line of a distribution. */
  curve(): [value: number, share: number][] {
    let sum = 0
    return this.#sorted().map(([bucket, count]) => [Math.min(valueOf(bucket), this.max), (sum += count) / this.count])
  }

  data(): HistogramData {
    return { counts: this.#sorted(), max: this.max }
  }

  #sorted(): [number, number][] {
    return [...this.#counts].sort(([a], [b]) => a - b)
  }

  static of(...all: readonly HistogramData[]): Histogram {
    const whole = new Histogram()
    for (const data of all) whole.add(data)
    return whole
  }
}
