/** A replica in a test of the document types: a state, a clock, an entry of one type and the deltas it wrote. */
import { assert } from '../../base/assert.ts'
import { SkeinError } from '../../base/errors.ts'
import { encodeValue } from '../../base/msgpack.ts'
import { pathOf } from '../cell.ts'
import type { ChangeSet } from '../change.ts'
import { ticksPerMs } from '../clock.ts'
import type { Delta } from '../delta.ts'
import { originId } from '../dot.ts'
import type { OriginId } from '../dot.ts'
import { State } from '../state.ts'
import type { Cells, CrdtType, Operation, Reading } from '../type.ts'

const key = 'entry'
const start = 1_700_000_000_000

export type Args = Readonly<Record<string, unknown>>

export class Replica<T> {
  readonly type: CrdtType<T>
  readonly state: State = new State()
  readonly origin: OriginId
  readonly log: Delta[]
  #now: number

  constructor(type: CrdtType<T>, name: number, log: Delta[] = [], aheadMs: number = 0) {
    this.type = type
    this.origin = originId(name.toString(16).padStart(32, '0'))
    this.log = log
    this.#now = start + aheadMs
  }

  write(): { origin: OriginId; time: number } {
    return { origin: this.origin, time: this.#now++ * ticksPerMs }
  }

  #logged(delta: Delta | undefined): Delta | undefined {
    if (delta !== undefined) this.log.push(delta)
    return delta
  }

  do(name: string, args: Args): Delta | undefined {
    return this.#logged(this.state.local(this.write(), key, this.type, name, args).delta)
  }

  /** Several operations in one delta; `fail` rolls them back. */
  all(
    steps: readonly (readonly [name: string, args: Args])[],
    fail: boolean,
    write: ReturnType<this['write']> = this.write() as never,
  ): Delta | undefined {
    return this.#logged(
      this.state.transact(write, (change) => {
        for (const [name, args] of steps) {
          change.run(this.state.entry(key), this.type, this.type.operations[name] as Operation, args)
        }
        if (fail) throw new Error('rolled back')
      }),
    )
  }

  /** Both in one delta, though the first is refused and the program goes on without it. */
  attempt(refused: readonly [name: string, args: Args], then: readonly [name: string, args: Args]): void {
    const run = (change: ChangeSet, [name, args]: readonly [string, Args]): unknown =>
      change.run(this.state.entry(key), this.type, this.type.operations[name] as Operation, args)
    const delta = this.state.transact(this.write(), (change) => {
      let caught: unknown
      try {
        run(change, refused)
      } catch (error) {
        caught = error
      }
      assert(caught instanceof SkeinError, 'the first is refused')
      run(change, then)
    })
    this.#logged(delta)
  }

  /** A peer that writes whatever it likes into a cell of this type. */
  raw(value: unknown, path?: unknown): Delta | undefined {
    const operation: Operation = {
      parameters: [],
      run: (_, change) => {
        change.putBytes(pathOf(path ?? [change.time, change.nextIndex()]), encodeValue(value))
        return undefined
      },
    }
    const type = { ...this.type, operations: { raw: operation } }
    return this.#logged(this.state.local(this.write(), key, type, 'raw').delta)
  }

  clear(): void {
    this.#logged(this.state.delete(this.write(), key, () => this.type))
  }

  get cells(): Cells {
    return this.state.entry(key).cells(this.type.id)
  }

  get reading(): Reading<T> {
    return this.type.read(this.cells)
  }

  get value(): T {
    return this.reading.value
  }

  get count(): number {
    return [...this.cells.all()].length
  }

  /** Applies what it can of these. */
  hear(deltas: readonly Delta[]): void {
    let waiting = deltas.filter((delta) => delta.seq > (this.state.vector.get(delta.origin) ?? 0))
    for (;;) {
      const later = waiting.filter((delta) => !(this.state.ready(delta) && this.state.apply(delta)))
      if (later.length === waiting.length) return
      waiting = later
    }
  }
}
