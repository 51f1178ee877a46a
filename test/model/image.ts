/**
 * One space of one node, as its memory holds it and as its disk does: an image. The model knows no rows, trees or bytes
 * on a wire, only what these must come to. Cells, deltas, contexts and merging are the real code of src/crdt.
 *
 * Images are never changed in place, so that worlds can share them: every function here answers a new one.
 */
import { binaryString } from '../../src/base/bytes.ts'
import { SkeinError } from '../../src/base/errors.ts'
import type { Sibling, TypeId } from '../../src/crdt/cell.ts'
import { sameDot } from '../../src/crdt/cell.ts'
import { advanceChain, decodeDelta, encodeDelta, startChain } from '../../src/crdt/delta.ts'
import type { CellWrite, Delta } from '../../src/crdt/delta.ts'
import { covers } from '../../src/crdt/dot.ts'
import type { Dot, OriginId, ReadonlyVector } from '../../src/crdt/dot.ts'
import { encodeSnapshot, State } from '../../src/crdt/state.ts'
import { typeNamed } from '../../src/crdt/types/table.ts'

/** A delta with its place in its origin's chain. */
export interface Entry {
  readonly delta: Delta
  readonly before: string
  readonly after: string
  /** What it adds to a counter: for the checks. */
  readonly by?: { readonly key: string; readonly amount: number }
}

/** A catch-up below the log: one snapshot of one sender, taken in entry by entry, merged in one step. */
export interface Target {
  readonly from: string
  /** The sender's process that pins the snapshot; when it dies, nothing more comes of it. */
  readonly process: number
  readonly snapshot: Image
  /** Entries whose leaves differed when they were compared. */
  readonly differing: readonly string[]
  /** What was taken in so far: entry → the state that it was read from. */
  readonly staged: ReadonlyMap<string, State>
  /** Re-adoption: the snapshot takes the place of what is here, and the own log is applied on top of it. */
  readonly replaces: boolean
}

/** Where an origin forked, as far as those who met could tell, and what tells the histories apart. */
export interface Fork {
  /** Below it they are the same. */
  readonly seq: number
  /** The first sequence at which they are known to differ, and the chain hash that stands there. */
  readonly at: number
  readonly chain: string
}

export interface Image {
  readonly state: State
  readonly time: number
  /** Whole deltas in the order in which they were applied, which is a causal one. */
  readonly log: readonly Entry[]
  /** The log holds everything of an origin above its floor. */
  readonly floor: ReadonlyVector
  /** Chain hashes at the vector. */
  readonly heads: ReadonlyMap<OriginId, string>
  /** Chain hashes that came with a snapshot, by sequence: what its giver could show. */
  readonly trails: ReadonlyMap<OriginId, ReadonlyMap<number, string>>
  /** Forked origins, which end at the vector: whatever others saw of them beyond it counts as met. */
  readonly closed: ReadonlyMap<OriginId, Fork>
  /** What the others said that their disks hold. */
  readonly acks: ReadonlyMap<string, ReadonlyVector>
  readonly roster: ReadonlySet<string>
  readonly target: Target | undefined
  /** What vanished from the cells without a delta: the stored leaves still sum it up. */
  readonly rotten: readonly { readonly key: string; readonly type: TypeId; readonly path: string; readonly dot: Dot }[]
}

export function emptyImage(roster: Iterable<string>): Image {
  const chains = { heads: new Map(), trails: new Map(), closed: new Map<OriginId, Fork>() }
  const nothing = { floor: new Map(), ...chains, acks: new Map(), rotten: [] }
  return { state: new State(), time: 0, log: [], ...nothing, roster: new Set(roster), target: undefined }
}

const none: ReadonlyVector = new Map()

/** Orders the entries of a map. */
export function byKey(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : 1
}

export function seqOf(vector: ReadonlyVector | undefined, origin: OriginId): number {
  return vector?.get(origin) ?? 0
}

export function isAtLeast(vector: ReadonlyVector, other: ReadonlyVector): boolean {
  for (const [origin, seq] of other) if (seqOf(vector, origin) < seq) return false
  return true
}

export function headOf(image: Image, origin: OriginId): string {
  return image.heads.get(origin) ?? ''
}

/** The chain hash of an origin at a sequence, where this image can tell. */
export function chainAt(image: Image, origin: OriginId, seq: number): string | undefined {
  if (seq === 0) return ''
  if (seq === seqOf(image.state.vector, origin)) return headOf(image, origin)
  for (const { delta, before, after } of image.log) {
    if (delta.origin !== origin) continue
    if (delta.seq === seq) return after
    if (delta.seq === seq + 1) return before
  }
  return image.trails.get(origin)?.get(seq)
}

/** All that an image can show of the chain of an origin. */
export function trailOf(image: Image, origin: OriginId): Map<number, string> {
  const trail = new Map<number, string>()
  for (let seq = 1; seq <= seqOf(image.state.vector, origin); seq++) {
    const chain = chainAt(image, origin, seq)
    if (chain !== undefined) trail.set(seq, chain)
  }
  return trail
}

function entryOf(delta: Delta, before: string): Entry {
  const chain = before === '' ? startChain('model', 1, delta.origin) : Uint32Array.from(before.split('.').map(Number))
  advanceChain(chain, encodeDelta(delta))
  return { delta, before, after: chain.join('.') }
}

/** Is a dot here, or can it come no more since its origin was closed? */
function isMet({ state, closed }: Image): (dot: Dot) => boolean {
  return (dot) => covers(state.vector, dot) || closed.has(dot.origin)
}

export function isReady(image: Image, { delta, before }: Entry): boolean {
  if (image.closed.has(delta.origin) || before !== headOf(image, delta.origin)) return false
  return image.state.ready(delta, isMet(image))
}

export function applied(image: Image, entry: Entry): Image {
  const { delta, after } = entry
  const state = image.state.clone()
  state.apply(delta, isMet(image))
  const heads = new Map(image.heads).set(delta.origin, after)
  return { ...image, state, heads, log: [...image.log, entry], time: Math.max(image.time, delta.time) }
}

export interface Operation {
  readonly key: string
  readonly type: string
  readonly name: string
  readonly args: Readonly<Record<string, unknown>>
}

/** The entry that an operation makes, or undefined where it changes nothing or is refused. */
export function written(
  image: Image,
  origin: OriginId,
  { key, type, name, args }: Operation,
  retired: (origin: OriginId) => boolean,
): Entry | undefined {
  const found = typeNamed(type)
  if (found === undefined) throw new Error(`there is no type ${type}`)
  const time = image.time + 1
  try {
    const { delta } = image.state.clone().local({ origin, time, nowMs: time, retired }, key, found, name, args)
    if (delta === undefined) return undefined
    const entry = entryOf(delta, headOf(image, origin))
    return name === 'incr' ? { ...entry, by: { key, amount: args['by'] as number } } : entry
  } catch (error) {
    if (error instanceof SkeinError) return undefined
    throw error
  }
}

/** An entry of plain cell writes: what a repair or a rescue makes. */
export function rewritten(image: Image, origin: OriginId, reason: string, writes: readonly CellWrite[]): Entry {
  const { state, time } = image
  const seq = seqOf(state.vector, origin) + 1
  const head = { origin, seq, time: time + 1, link: new Uint8Array(8), context: state.contextOf(origin) }
  const delta = { ...head, agent: 'node', reason, clears: [], writes }
  return entryOf(decodeDelta(origin, seq, encodeDelta(delta)), headOf(image, origin))
}

/** Every sibling as text, by entry: what the leaves of the tree sum up. */
export function leafOf(image: Image, key: string): string {
  const digests = image.rotten.filter((lost) => lost.key === key).map(({ type, path, dot }) => nameOf(type, path, dot))
  for (const [entryKey, type, path, siblings] of image.state.cells()) {
    if (entryKey === key) for (const sibling of siblings) digests.push(nameOf(type, path, sibling))
  }
  return digests.sort().join(' ')
}

function nameOf(type: TypeId, path: string, dot: Dot): string {
  return `${type}${path}${dot.origin}${dot.seq}`
}

/** One sibling vanishes: from its cell, not from the sums. */
export function rotted(image: Image, key: string, type: TypeId, path: string, gone: Sibling): Image {
  const { vector } = image.state
  const left = [...image.state.cells()].map(([k, t, p, siblings]) => {
    const hit = k === key && t === type && p === path
    return [k, t, p, hit ? siblings.filter((one) => !sameDot(one, gone)) : siblings] as const
  })
  const state = image.state.clone()
  state.merge(State.decode(encodeSnapshot(vector, left)))
  const dot = { origin: gone.origin, seq: gone.seq }
  return { ...image, state, rotten: [...image.rotten, { key, type, path, dot }] }
}

/** Drops what every disk that is waited for has. */
export function pruned(image: Image, disk: ReadonlyVector, self: string): Image {
  const others = [...image.roster].filter((member) => member !== self).map((member) => image.acks.get(member) ?? none)
  const floor = new Map(image.floor)
  for (const [origin, seq] of disk) {
    const cut = Math.min(seq, ...others.map((vector) => seqOf(vector, origin)))
    if (cut > seqOf(floor, origin)) floor.set(origin, cut)
  }
  return { ...image, floor, log: image.log.filter(({ delta }) => !covers(floor, delta)) }
}

const texts = new WeakMap<State, string>()

/** Vector and cells, every byte of them: equal texts are equal roots. */
export function textOf(state: State): string {
  let text = texts.get(state)
  if (text === undefined) {
    text = [...state.vector].sort(byKey).join(' ')
    for (const [key, type, path, siblings] of state.cells()) {
      text += `\n${key} ${type} ${path}`
      for (const { origin, seq, value } of siblings) text += ` ${origin}:${seq}=${binaryString(value)}`
    }
    texts.set(state, text)
  }
  return text
}

const keys = new WeakMap<Image, string>()
const interned = new Map<string, string>()

/** A short text that equal images share and unequal ones do not. */
export function keyOf(image: Image): string {
  let key = keys.get(image)
  if (key !== undefined) return key
  const { target } = image
  const full = JSON.stringify([
    textOf(image.state),
    image.time,
    image.log.map(({ delta, after }) => delta.origin + after),
    [...image.floor].sort(byKey),
    [...image.heads].sort(byKey),
    [...image.trails].sort(byKey).map(([origin, trail]) => [origin, [...trail]]),
    [...image.closed].sort(byKey),
    [...image.acks].sort(byKey).map(([member, vector]) => [member, [...vector].sort(byKey)]),
    [...image.roster].sort(),
    target && [target.from, target.process, keyOf(target.snapshot), target.differing, target.replaces],
    target && [...target.staged].map(([entry, state]) => [entry, textOf(state)]),
    image.rotten,
  ])
  key = interned.get(full)
  if (key === undefined) interned.set(full, (key = interned.size.toString(36)))
  keys.set(image, key)
  return key
}
