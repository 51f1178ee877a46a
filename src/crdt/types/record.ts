/**
 * The record: a JSON object that merges field by field. A cell per field path, named by the array of field names; its
 * value is a scalar, an array (arrays are atomic) or {} for an object without fields of its own. A nested object is
 * written as its fields, so two writers of different fields never meet.
 *
 * - Only the fields that are named are written, as in a JSON merge patch (RFC 7396); null is a value like any other.
 *   `{}` says that an object stands here: it replaces a scalar and leaves the fields of an object alone.
 * - A scalar at a path supersedes everything below it and every scalar above it that its writer sees. Where both are
 *   live they were written concurrently: the newer side by (time, dot) is shown, wholly, and the other is `concurrent`.
 * - Of two concurrent scalars at one path the newer is shown, the other is `concurrent`.
 *
 * It keeps no order of fields and does not merge inside arrays: a list or a set does.
 */
import { binaryString } from '../../base/bytes.ts'
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { encodeValue } from '../../base/msgpack.ts'
import type { Value } from '../../base/value.ts'
import { compareSiblings, newest } from '../cell.ts'
import type { Path, Sibling, Siblings } from '../cell.ts'
import { holdsOnly } from '../change.ts'
import type { Cells, Change, CrdtType } from '../type.ts'
import { fields, invalid, isFields, list } from './arguments.ts'
import { mostRecentFirst, valueOf, valueOfPath } from './reading.ts'
import type { Loser } from './reading.ts'

export type Fields = { readonly [name: string]: Value }

/** What `concurrent` shows of a field that lost. */
export interface LostField {
  readonly path: readonly string[]
  readonly value: Value
}

const emptyObject = new Uint8Array([0x80])

function isMarker(sibling: Sibling): boolean {
  return sibling.value.length === 1 && sibling.value[0] === 0x80
}

/** Names and paths come again and again: a cache of the short ones in use, dropped when it is full. */
class Cache<Item> {
  readonly #items: Map<string, Item> = new Map()
  readonly #make: (key: string) => Item

  constructor(make: (key: string) => Item) {
    this.#make = make
  }

  get(key: string): Item {
    let item = this.#items.get(key)
    if (item === undefined) {
      item = this.#make(key)
      if (key.length > 128) return item
      if (this.#items.size >= 4096) this.#items.clear()
      this.#items.set(key, item)
    }
    return item
  }
}

/** The canonical bytes of a field's name, checked. */
const encodedNames: Cache<string> = new Cache((name: string): string => {
  if (name === '__proto__') throw new SkeinError('reserved_name', 'a field cannot be called __proto__')
  return binaryString(encodeValue(name))
})

const topPaths: Cache<Path> = new Cache((name: string): Path => `\x91${encodedNames.get(name)}`)

const head = { one: 0x91, most: 0x9f, long: 0xdc } as const
/** Before every path of more than one name. */
const deepest = '\x92'

/** Bytes before the first name; 0 for what is no path of names. */
function headLength(path: Path): number {
  const first = path.charCodeAt(0)
  if (first >= head.one && first <= head.most) return 1
  return first === head.long ? 3 : 0
}

function pathOfNames(depth: number, body: string): Path {
  const header = depth <= 15 ? String.fromCharCode(0x90 + depth) : `\xdc\x00${String.fromCharCode(depth)}`
  return header + body
}

/** The names in a path; none for what is no path of names or could not be shown. */
const namesOf: Cache<readonly string[]> = new Cache((path: Path): readonly string[] => {
  const names = headLength(path) === 0 ? undefined : valueOfPath(path)
  if (!Array.isArray(names) || names.length > limits.valueDepth) return []
  return names.every((name) => typeof name === 'string' && name !== '__proto__') ? (names as string[]) : []
})

/** One `set` or `unset` under way. */
class Edit {
  readonly #cells: Cells
  readonly #change: Change
  /** Paths of more than one name, if there are any: only then can something stand below or above a field. */
  #nested: readonly Path[] | undefined

  constructor(cells: Cells, change: Change) {
    this.#cells = cells
    this.#change = change
  }

  #deepPaths(): readonly Path[] {
    if (this.#nested === undefined) {
      const deep: Path[] = []
      if (!this.#cells.empty) {
        for (const [path] of this.#cells.all(deepest)) if (headLength(path) > 0) deep.push(path)
      }
      this.#nested = deep
    }
    return this.#nested
  }

  /** Cells whose path starts with all names of this one. Names are self-delimiting, so their bytes tell. */
  #below(path: Path): readonly Path[] {
    const deep = this.#deepPaths()
    if (deep.length === 0) return deep
    const body = path.slice(headLength(path))
    return deep.filter((other) => other !== path && other.startsWith(body, headLength(other)))
  }

  /** `body` is the names so far, encoded; `depth` their number. */
  setFields(given: Readonly<Record<string, unknown>>, depth: number, body: string): void {
    for (const name of Object.keys(given)) {
      const value = given[name]
      if (value === undefined) continue
      if (depth === 0) this.#set(topPaths.get(name), value, 1)
      else this.#set(pathOfNames(depth + 1, body + encodedNames.get(name)), value, depth + 1)
    }
  }

  #set(path: Path, value: unknown, depth: number): void {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) {
      this.#setLeaf(path, value, depth)
    } else if (!isFields(value)) {
      // No plain object: encoding it says why it cannot be a value.
      encodeValue(value)
    } else if (depth >= limits.valueDepth) {
      throw new SkeinError('too_deep', `fields may be nested ${limits.valueDepth} deep`, { limit: limits.valueDepth })
    } else if (Object.values(value).every((field) => field === undefined)) this.#setEmpty(path)
    else {
      this.#removeScalars(path)
      this.setFields(value, depth, path.slice(headLength(path)))
    }
  }

  #setLeaf(path: Path, value: unknown, depth: number): void {
    const bytes = encodeValue(value, depth)
    if (!holdsOnly(this.#cells.get(path), bytes, this.#change.expires)) this.#change.putBytes(path, bytes)
    for (const below of this.#below(path)) this.#change.remove(below)
  }

  #setEmpty(path: Path): void {
    const siblings = this.#cells.get(path)
    const isObject = siblings.every(isMarker) && (siblings.length > 0 || this.#below(path).length > 0)
    if (!isObject) this.#change.putBytes(path, emptyObject)
  }

  #removeScalars(path: Path): void {
    const siblings = this.#cells.get(path)
    if (siblings.length === 0) return
    const scalars = siblings.filter((sibling) => !isMarker(sibling))
    if (scalars.length > 0) this.#change.remove(path, scalars)
  }

  unset(path: Path): void {
    if (this.#cells.get(path).length > 0) this.#change.remove(path)
    for (const below of this.#below(path)) this.#change.remove(below)
  }
}

function pathToUnset(given: unknown, at: number): Path {
  const names: readonly unknown[] = Array.isArray(given) ? given : [given]
  for (const name of names) {
    if (typeof name !== 'string' || !name.isWellFormed()) {
      throw invalid(`paths[${at}]`, 'a field name or an array of field names', given)
    }
  }
  if (names.length === 0 || names.length > limits.valueDepth) {
    throw invalid(`paths[${at}]`, `1 to ${limits.valueDepth} field names`, given)
  }
  return binaryString(encodeValue(names))
}

/** A field with what is live in it and below it. */
interface Node {
  readonly names: readonly string[]
  siblings: Siblings
  readonly children: Map<string, Node>
}

function treeOf(cells: Cells): Node {
  const root: Node = { names: [], siblings: [], children: new Map() }
  for (const [path, siblings] of cells.all()) {
    const names = namesOf.get(path)
    if (names.length === 0) continue
    let node = root
    for (let depth = 1; depth <= names.length; depth++) {
      const name = names[depth - 1] as string
      let child = node.children.get(name)
      if (child === undefined) {
        child = { names: names.slice(0, depth), siblings: [], children: new Map() }
        node.children.set(name, child)
      }
      node = child
    }
    node.siblings = siblings.filter((sibling) => valueOf(sibling) !== undefined)
  }
  return root
}

function newestBelow(node: Node): Sibling | undefined {
  const candidates: Sibling[] = []
  for (const child of node.children.values()) {
    const best = newest(child.siblings)
    const below = newestBelow(child)
    if (best !== undefined) candidates.push(best)
    if (below !== undefined) candidates.push(below)
  }
  return newest(candidates)
}

function lose(node: Node, siblings: Siblings, losers: Loser[]): void {
  for (const sibling of siblings) {
    losers.push({ sibling, shown: { path: node.names, value: valueOf(sibling) as Value } satisfies LostField })
  }
}

function loseBelow(node: Node, losers: Loser[]): void {
  for (const child of node.children.values()) {
    lose(child, child.siblings, losers)
    loseBelow(child, losers)
  }
}

/** What a field shows; undefined when nothing in it can be read. What it does not show goes to `losers`. */
function resolve(node: Node, losers: Loser[]): Value | undefined {
  const scalars = node.siblings.filter((sibling) => !isMarker(sibling))
  const markers = node.siblings.filter(isMarker)
  const scalar = newest(scalars)
  const below = newestBelow(node)
  const object = newest(below === undefined ? markers : [...markers, below])
  if (scalar !== undefined && (object === undefined || compareSiblings(scalar, object) > 0)) {
    lose(
      node,
      node.siblings.filter((sibling) => sibling !== scalar),
      losers,
    )
    loseBelow(node, losers)
    return valueOf(scalar)
  }
  lose(node, scalars, losers)
  return object === undefined ? undefined : resolveFields(node, losers)
}

function resolveFields(node: Node, losers: Loser[]): Fields {
  const shown: Record<string, Value> = {}
  for (const [name, child] of node.children) {
    const value = resolve(child, losers)
    if (value !== undefined) shown[name] = value
  }
  return shown
}

/** The usual record is flat and at peace; undefined for any other. */
function readFlat(cells: Cells): Fields | undefined {
  const shown: Record<string, Value> = {}
  for (const [path, siblings] of cells.all()) {
    if (siblings.length !== 1 || path.charCodeAt(0) !== head.one) return undefined
    const [name] = namesOf.get(path)
    const value = valueOf(siblings[0] as Sibling)
    if (name !== undefined && value !== undefined) shown[name] = value
  }
  return shown
}

export const record: CrdtType<Fields> = {
  id: 2,
  name: 'record',
  merge: 'field by field; in one field the newest write wins by (time, dot), concurrent ones stay readable',
  expiring: true,
  operations: {
    set: {
      parameters: ['fields'],
      run(cells, change, args) {
        new Edit(cells, change).setFields(fields(args, 'fields'), 0, '')
        return undefined
      },
    },
    unset: {
      parameters: ['paths'],
      spread: true,
      run(cells, change, args) {
        const edit = new Edit(cells, change)
        for (const path of list(args, 'paths').map(pathToUnset)) edit.unset(path)
        return undefined
      },
    },
  },
  read(cells) {
    const flat = readFlat(cells)
    if (flat !== undefined) return { value: flat, concurrent: [] }
    const losers: Loser[] = []
    return { value: resolveFields(treeOf(cells), losers), concurrent: mostRecentFirst(losers) }
  },
}
