/**
 * A bounded structural walk over a Yjs update of format V1 (Nicolaescu et al., Near Real-Time Peer-to-Peer Shared
 * Editing on Extensible Data Types, 2016; the layout is that of yjs 13 and lib0). Yjs believes what it reads: a count is
 * allocated before its items are there, a byte beyond the end is `undefined`, and its V2 decoders loop for ever on some
 * thirty bytes. So bytes from outside pass here first, and Yjs is only given what did.
 *
 * The verdict is a function of the bytes alone, equal on every machine, in time linear in them: every count is at most
 * the bytes that are left, every string is UTF-8, every nested value has a depth, nothing follows the end. It proves
 * that Yjs can decode, not that it can integrate: what structs cost in a document is yjs-feed.ts's business.
 */
import { limits } from '../../base/limits.ts'

/** Nesting of a value inside an update. A guess: ten times what editors nest, far below what a stack holds. */
export const updateDepth = 100

/** The five low bits of a struct's first byte. */
export const structKind = {
  gc: 0,
  deleted: 1,
  json: 2,
  binary: 3,
  string: 4,
  embed: 5,
  format: 6,
  type: 7,
  any: 8,
  doc: 9,
  skip: 10,
} as const

/** Names one unit of a client's writing. */
export interface UnitId {
  readonly client: number
  readonly clock: number
}

/** What must be known of one struct to place it, and where its bytes are. */
export interface Struct extends UnitId {
  readonly kind: number
  /** Units that it takes of its client's clock. */
  readonly length: number
  readonly start: number
  readonly end: number
  readonly left: UnitId | undefined
  readonly right: UnitId | undefined
  /** Its parent where that is not its neighbours': the name of a root or the item that holds a type. */
  readonly parent: UnitId | string | undefined
  /** The key of a map entry, where it says so itself. */
  readonly key: string | undefined
  /** The characters of a string, else ''. */
  readonly text: string
}

export interface Section extends UnitId {
  readonly structs: readonly Struct[]
}

/** Also for each struct whose content is said to be deleted, whether the update's own list has it or not. */
export interface Deletion extends UnitId {
  readonly length: number
}

export interface Update {
  readonly bytes: Uint8Array
  readonly sections: readonly Section[]
  readonly deletions: readonly Deletion[]
}

export interface Refused {
  readonly refused: string
}

/** Never leaves this file; one object, because a stack trace costs more than most walks. */
const stop = new Error('refused')
let why = ''

function refuse(reason: string): never {
  why = reason
  throw stop
}

/** As lib0 decodes: anything else than UTF-8 throws, a byte order mark stays. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

class Walk {
  readonly bytes: Uint8Array
  at = 0
  #items = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  byte(): number {
    if (this.at >= this.bytes.length) refuse('cut short')
    return this.bytes[this.at++] as number
  }

  skip(count: number): void {
    if (count > this.bytes.length - this.at) refuse('a length beyond the end')
    this.at += count
  }

  uint(): number {
    let value = this.byte()
    if (value < 0x80) return value
    value &= 0x7f
    for (let scale = 0x80; ; scale *= 0x80) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (value > Number.MAX_SAFE_INTEGER || scale > 2 ** 49) refuse('a number beyond 2^53')
      if (byte < 0x80) return value
    }
  }

  /** A signed number, whose value nobody here needs. */
  int(): void {
    const head = this.byte()
    if (head < 0x80) return
    let value = head & 0x3f
    for (let scale = 0x40; ; scale *= 0x80) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (value > Number.MAX_SAFE_INTEGER || scale > 2 ** 48) refuse('a number beyond 2^53')
      if (byte < 0x80) return
    }
  }

  /** A number of things that take a byte each at least. */
  count(): number {
    const count = this.uint()
    if (count > this.bytes.length - this.at) refuse('a count beyond the end')
    return count
  }

  item(): void {
    if (++this.#items > limits.documentItems) refuse(`more than ${limits.documentItems} items`)
  }

  string(): string {
    const length = this.uint()
    const from = this.at
    this.skip(length)
    if (length < 32) {
      let text = ''
      let at = from
      for (; at < this.at; at++) {
        const byte = this.bytes[at] as number
        if (byte >= 0x80) break
        text += String.fromCharCode(byte)
      }
      if (at === this.at) return text
    }
    try {
      return utf8.decode(this.bytes.subarray(from, this.at))
    } catch {
      return refuse('a string that is not UTF-8')
    }
  }

  id(): UnitId {
    return { client: this.uint(), clock: this.uint() }
  }

  json(): void {
    const text = this.string()
    if (text === 'undefined') return
    let depth = 0
    let quoted = false
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      if (quoted) {
        if (unit === 0x5c) i++
        else if (unit === 0x22) quoted = false
      } else if (unit === 0x22) quoted = true
      else if (unit === 0x5b || unit === 0x7b) {
        if (++depth > updateDepth) refuse('JSON nested too deep')
      } else if (unit === 0x5d || unit === 0x7d) depth--
    }
    try {
      JSON.parse(text)
    } catch {
      refuse('JSON that is none')
    }
  }

  /** A value as lib0 writes any value. */
  any(depth: number): void {
    if (depth > updateDepth) refuse('a value nested too deep')
    this.item()
    const head = this.byte()
    switch (head) {
      case 127: // undefined
      case 126: // null
      case 121: // false
      case 120: // true
        return
      case 125:
        return this.int()
      case 124:
        return this.skip(4)
      case 123:
      case 122:
        return this.skip(8)
      case 119:
        this.string()
        return
      case 118:
        for (let left = this.count(); left > 0; left--) {
          this.string()
          this.any(depth + 1)
        }
        return
      case 117:
        for (let left = this.count(); left > 0; left--) this.any(depth + 1)
        return
      case 116:
        return this.skip(this.uint())
      default:
        refuse('a value of an unknown kind')
    }
  }

  /** The options of a subdocument: an object whose members Yjs hands to `new Doc`. */
  options(): void {
    const from = this.at
    if (this.byte() !== 118) refuse('options that are no object')
    this.at = from
    this.any(1)
    const end = this.at
    this.at = from + 1
    for (let left = this.count(); left > 0; left--) {
      if (this.string() === 'gcFilter') refuse('an option that is code')
      this.any(2)
    }
    this.at = end
  }

  /** The content of an item: how many units it takes. */
  content(kind: number): number {
    switch (kind) {
      case structKind.deleted:
        return this.uint()
      case structKind.json: {
        const count = this.count()
        for (let left = count; left > 0; left--) {
          this.item()
          this.json()
        }
        return count
      }
      case structKind.binary:
        this.skip(this.uint())
        return 1
      case structKind.embed:
        this.json()
        return 1
      case structKind.format:
        this.string()
        this.json()
        return 1
      case structKind.type: {
        const type = this.uint()
        if (type > 6) refuse('a shared type of an unknown kind')
        // An XML element and an XML hook have names.
        if (type === 3 || type === 5) this.string()
        return 1
      }
      case structKind.any: {
        const count = this.count()
        for (let left = count; left > 0; left--) this.any(1)
        return count
      }
      case structKind.doc:
        this.string()
        this.options()
        return 1
      default:
        return refuse('a struct of an unknown kind')
    }
  }

  struct(client: number, clock: number): Struct {
    this.item()
    const start = this.at
    const info = this.byte()
    const kind = info & 0x1f
    let left: UnitId | undefined
    let right: UnitId | undefined
    let parent: UnitId | string | undefined
    let key: string | undefined
    let text = ''
    let length: number
    if (kind === structKind.gc || kind === structKind.skip) {
      if (info !== kind) refuse('a gap with the marks of an item')
      length = this.uint()
    } else {
      if ((info & 0x80) !== 0) left = this.id()
      if ((info & 0x40) !== 0) right = this.id()
      if ((info & 0xc0) === 0) {
        const named = this.uint()
        if (named > 1) refuse('a parent of an unknown kind')
        parent = named === 1 ? this.string() : this.id()
        if ((info & 0x20) !== 0) key = this.string()
      }
      if (kind === structKind.string) {
        text = this.string()
        length = text.length
      } else length = this.content(kind)
    }
    if (length === 0) refuse('a struct without length')
    if (clock + length > Number.MAX_SAFE_INTEGER) refuse('a clock beyond 2^53')
    for (const id of [left, right, parent]) {
      if (typeof id === 'object' && id.client === client && id.clock >= clock) refuse('a struct that rests on itself')
    }
    return { client, clock, kind, length, start, end: this.at, left, right, parent, key, text }
  }

  update(): Update {
    const sections: Section[] = []
    const deletions: Deletion[] = []
    const clients = new Set<number>()
    for (let left = this.count(); left > 0; left--) {
      const count = this.count()
      const client = this.uint()
      if (clients.has(client)) refuse('a client named twice')
      clients.add(client)
      const first = this.uint()
      let clock = first
      const structs: Struct[] = []
      for (let more = count; more > 0; more--) {
        const struct = this.struct(client, clock)
        structs.push(struct)
        if (struct.kind === structKind.gc || struct.kind === structKind.deleted) {
          deletions.push({ client, clock, length: struct.length })
        }
        clock += struct.length
      }
      sections.push({ client, clock: first, structs })
    }
    clients.clear()
    for (let left = this.count(); left > 0; left--) {
      const client = this.uint()
      if (clients.has(client)) refuse('a client named twice')
      clients.add(client)
      for (let more = this.count(); more > 0; more--) {
        this.item()
        const clock = this.uint()
        const length = this.uint()
        if (length === 0) refuse('a deletion without length')
        if (clock + length > Number.MAX_SAFE_INTEGER) refuse('a clock beyond 2^53')
        deletions.push({ client, clock, length })
      }
    }
    if (this.at !== this.bytes.length) refuse('bytes follow the end')
    return { bytes: this.bytes, sections, deletions }
  }
}

/** What an update says, or why nobody should decode it. */
export function checkUpdate(bytes: Uint8Array): Update | Refused {
  try {
    return new Walk(bytes).update()
  } catch (error) {
    if (error !== stop) throw error
    return { refused: why }
  }
}
