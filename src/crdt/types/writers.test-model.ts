/** A few writers of one entry, for the tests of a single type: short to say, deterministic, one state each. */
import type { SkeinError } from '../../base/errors.ts'
import type { Path } from '../cell.ts'
import { encodeValue } from '../../base/msgpack.ts'
import type { Value } from '../../base/value.ts'
import type { Delta } from '../delta.ts'
import { originId } from '../dot.ts'
import type { OriginId } from '../dot.ts'
import { State } from '../state.ts'
import type { Cells, CrdtType, Reading } from '../type.ts'
import { typeOf } from './table.ts'

let clock = 1_000_000

export class Writer<T> {
  readonly type: CrdtType<T>
  readonly state: State = new State()
  origin: OriginId
  agent: string
  nowMs = 1000

  constructor(type: CrdtType<T>, name: number, incarnation: number = 1) {
    this.type = type
    this.origin = originId(name.toString(16).padStart(16, '0') + incarnation.toString(16).padStart(16, '0'))
    this.agent = `agent ${name}`
  }

  get cells(): Cells {
    return this.state.entry('it').cells(this.type.id)
  }

  get reading(): Reading<T> {
    return this.type.read(this.cells)
  }

  get value(): T {
    return this.reading.value
  }

  /** The values that lost, the most recent first. */
  get lost(): unknown[] {
    return this.reading.concurrent.map(({ value }) => value)
  }

  get paths(): Path[] {
    return [...this.cells.all()].map(([path]) => path)
  }

  do(operation: string, args: Readonly<Record<string, unknown>> = {}): Delta | undefined {
    return this.#run(operation, args).delta
  }

  answer(operation: string, args: Readonly<Record<string, unknown>> = {}): Value | undefined {
    return this.#run(operation, args).result
  }

  #run(
    operation: string,
    args: Readonly<Record<string, unknown>>,
  ): { delta: Delta | undefined; result: Value | undefined } {
    const { origin, agent, nowMs } = this
    return this.state.local({ origin, agent, nowMs, time: (clock += 2048) }, 'it', this.type, operation, args)
  }

  /** The code that an operation is refused with. */
  refusal(operation: string, args: Readonly<Record<string, unknown>> = {}): string | undefined {
    const before = this.state.encode()
    try {
      this.do(operation, args)
      return undefined
    } catch (error) {
      const after = this.state.encode()
      if (Buffer.compare(before, after) !== 0) throw new Error('a refusal changed the state', { cause: error })
      return (error as SkeinError).code
    }
  }

  delete(): Delta | undefined {
    const { origin, agent, nowMs } = this
    return this.state.delete({ origin, agent, nowMs, time: (clock += 2048) }, 'it', typeOf)
  }

  /** Learns all that others know. */
  hear(...others: readonly Writer<T>[]): this {
    for (const other of others) this.state.merge(other.state)
    return this
  }

  /** Takes cells that no operation writes, as from a faulty peer. */
  forge(cells: readonly (readonly [path: Path, value: unknown])[]): void {
    const origin = originId('f'.repeat(32))
    const seq = (this.state.vector.get(origin) ?? 0) + 1
    const writes = cells.map(([path, value]) => {
      return { key: 'it', type: this.type.id, path, value: encodeValue(value).slice(), expires: 0, supersedes: [] }
    })
    const link = new Uint8Array(8)
    const time = (clock += 2048)
    this.state.apply({ origin, seq, time, link, context: [], agent: 'x', reason: undefined, clears: [], writes })
  }
}

/** Everybody hears everybody; afterwards all must be one. */
export function meet<T>(...writers: readonly Writer<T>[]): void {
  for (const writer of writers) writer.hear(...writers)
  for (const writer of writers) {
    if (Buffer.compare(writer.state.encode(), (writers[0] as Writer<T>).state.encode()) !== 0) {
      throw new Error('writers that heard one another differ')
    }
  }
}
