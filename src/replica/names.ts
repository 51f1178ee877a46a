/**
 * Numbers for names: on disk an origin or an agent is a small number, given out once and kept for good. In memory the
 * names themselves are used, so nothing outside the rows ever sees a number.
 */
import { toHex } from '../base/bytes.ts'
import { assert } from '../base/assert.ts'
import type { RowSink } from '../base/rows.ts'
import { bytesOf, originId } from '../crdt/dot.ts'
import type { OriginId } from '../crdt/dot.ts'
import { intact } from './damage.ts'
import { KeyWriter } from './row-keys.ts'

const keys = new KeyWriter()

export class Names<Name extends string> {
  readonly #table: number
  readonly #encode: (name: Name) => Uint8Array
  readonly #names: Name[] = []
  readonly #numbers = new Map<Name, number>()
  #last: Name | undefined = undefined
  #lastNumber = 0
  /** Names from here on have no row yet. */
  #written = 0

  constructor(tableByte: number, encode: (name: Name) => Uint8Array) {
    this.#table = tableByte
    this.#encode = encode
  }

  /** For opening: rows come in order of their numbers. */
  load(name: Name): void {
    assert(this.#written === this.#names.length, 'names are loaded before any is added')
    this.#numbers.set(name, this.#names.length)
    this.#names.push(name)
    this.#written++
  }

  numberOf(name: Name): number {
    // Mostly the one that was asked for last: this node's own origin, its one agent.
    if (name === this.#last) return this.#lastNumber
    let number = this.#numbers.get(name)
    if (number === undefined) {
      number = this.#names.length
      this.#names.push(name)
      this.#numbers.set(name, number)
    }
    this.#last = name
    this.#lastNumber = number
    return number
  }

  /** The number of a name that has one. */
  find(name: Name): number | undefined {
    return name === this.#last ? this.#lastNumber : this.#numbers.get(name)
  }

  nameOf(number: number): Name {
    const name = this.#names[number]
    intact(name !== undefined, 'a number has no name')
    return name
  }

  flush(sink: RowSink): void {
    for (; this.#written < this.#names.length; this.#written++) {
      sink.put(keys.start(this.#table).ordered(this.#written).bytes, this.#encode(this.nameOf(this.#written)))
    }
  }
}

export function encodeOrigin(origin: OriginId): Uint8Array {
  return bytesOf(origin)
}

export function decodeOrigin(bytes: Uint8Array): OriginId {
  return originId(toHex(bytes))
}
