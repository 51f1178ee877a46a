/** The writer in a process of a fleet: at a pace that stands beforehand, or as fast as the system takes it. */
import { nowUs, untilUs } from './clock.ts'
import type { Keys, Note, Pace, Rush, Written } from './control.ts'
import { Histogram } from './histogram.ts'
import { stamped } from './stamp.ts'
import type { OpenNode } from './system.ts'

/** Writes in one turn of a rush, so that sockets are served in between. A guess. */
export const inOneTurn = 64

export function keyOf({ of, name, count }: Keys, writer: number, seq: number): string {
  return of === 'own' ? `${name}-${writer}-${seq % count}` : `${name}-${seq % count}`
}

class Tally {
  written = 0
  refused = 0
  why = ''
  pending = 0
  acknowledgedUs = 0
  readonly startedUs = nowUs()
  readonly #acknowledging = new Histogram()
  readonly #tells: boolean
  #wake: (() => void) | undefined

  constructor(tells = false) {
    this.#tells = tells
  }

  begun(seq: number, atUs: number, done: void | Promise<void>): void {
    this.written++
    if (done === undefined) return this.#acknowledged(seq, atUs)
    this.pending++
    done.then(
      () => this.#settled(() => this.#acknowledged(seq, atUs)),
      (error: unknown) => this.#settled(() => this.failed(error)),
    )
  }

  failed(error: unknown): void {
    this.refused++
    if (this.why === '') this.why = error instanceof Error ? error.message : String(error)
  }

  async below(pending: number): Promise<void> {
    while (this.pending >= pending) await new Promise<void>((resolve) => (this.#wake = resolve))
  }

  #acknowledged(seq: number, atUs: number): void {
    const now = nowUs()
    const note: Note = { acknowledged: seq }
    if (this.#tells) process.send?.(note)
    this.acknowledgedUs = now
    this.#acknowledging.record(now - atUs)
  }

  #settled(note: () => void): void {
    note()
    this.pending--
    this.#wake?.()
  }

  async result(): Promise<Written> {
    await this.below(1)
    const { written, refused, why, startedUs, acknowledgedUs } = this
    return { written, refused, why, startedUs, acknowledgedUs, acknowledging: this.#acknowledging.data() }
  }
}

interface Due {
  readonly seq: number
  readonly key: string
  readonly dueUs: number
  readonly value: (writtenUs: number) => string
}

type Write = (key: string, value: string) => void | Promise<void>

function writeOne(write: Write, tally: Tally, { seq, key, dueUs, value }: Due): void {
  const writtenUs = nowUs()
  try {
    tally.begun(seq, dueUs, write(key, value(writtenUs)))
  } catch (error) {
    tally.failed(error)
  }
}

export async function pace(node: OpenNode, writer: number, order: Pace): Promise<Written> {
  const { phase, firstUs, periodUs, count, keys, valueBytes, exactly, tells, isJson } = order
  const { json } = node
  if (isJson === true && json === undefined) throw new Error('it has no JSON documents')
  const write: Write =
    isJson === true
      ? (key, value) => json?.set([`writer-${writer}`, key], value)
      : (key, value) => node.write(key, value)
  const tally = new Tally(tells)
  for (let seq = 0; seq < count; seq++) {
    const dueUs = firstUs + seq * periodUs
    if (nowUs() < dueUs) await untilUs(dueUs, exactly)
    writeOne(write, tally, {
      seq,
      key: keyOf(keys, writer, seq),
      dueUs,
      value: (writtenUs) => stamped({ phase, writer, seq, dueUs, writtenUs }, valueBytes),
    })
  }
  return tally.result()
}

export async function rush(node: OpenNode, writer: number, order: Rush): Promise<Written> {
  const { phase, count, keys, valueBytes, window, startUs } = order
  await untilUs(startUs, true)
  const write: Write = (key, value) => node.write(key, value)
  const tally = new Tally()
  for (let seq = 0; seq < count; seq++) {
    const dueUs = nowUs()
    writeOne(write, tally, {
      seq,
      key: keyOf(keys, writer, seq),
      dueUs,
      value: (writtenUs) => stamped({ phase, writer, seq, dueUs, writtenUs }, valueBytes),
    })
    if (seq % inOneTurn === inOneTurn - 1) await new Promise((resolve) => setImmediate(resolve))
    await tally.below(window)
  }
  return tally.result()
}
