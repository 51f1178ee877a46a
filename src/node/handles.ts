/**
 * The eleven types as programs see them: one small class each, over the operations of the type table. A handle is a
 * name, not a copy: it reads and writes what the entry is now, and costs nothing to make.
 */
import type { Value } from '../base/value.ts'
import { newest, pathValue } from '../crdt/cell.ts'
import type { Sibling } from '../crdt/cell.ts'
import type { Cells, CrdtType, Written } from '../crdt/type.ts'
import { written } from '../crdt/type.ts'
import { decodeValue } from '../base/msgpack.ts'
import { budget } from '../crdt/types/budget.ts'
import { claim } from '../crdt/types/claim.ts'
import { counter } from '../crdt/types/counter.ts'
import { automergeDoc, doc } from '../crdt/types/doc.ts'
import { flag } from '../crdt/types/flag.ts'
import { list } from '../crdt/types/list.ts'
import { log } from '../crdt/types/log.ts'
import { record } from '../crdt/types/record.ts'
import { register } from '../crdt/types/register.ts'
import { set } from '../crdt/types/set.ts'
import { stateAsUpdate, text, ydoc } from '../crdt/types/text.ts'
import { hold } from '../recipes/hold.ts'
import type { HoldOptions, Holdable, Work } from '../recipes/hold.ts'
import type { HistoryItem } from './history.ts'
import type { Receipt } from './receipt.ts'
import type { Watch } from './watch.ts'

export interface WatchOptions {
  /** A token from an earlier event: everything after it is delivered, or a gap says that it cannot be. */
  readonly since?: string
  readonly signal?: AbortSignal
}

/** What a handle needs of the space, or of the transaction, that made it. */
export interface Access {
  cells(key: string, type: CrdtType): Cells
  run(key: string, type: CrdtType, operation: string, args: Readonly<Record<string, unknown>>): Receipt<unknown>
  remove(key: string): Receipt
  /** Nothing where there are none. */
  conflicts(key: string): { readonly conflicts?: readonly string[] }
  history(key: string): Promise<readonly HistoryItem[]>
  watchKey(key: string, options: WatchOptions): Watch
}

export interface Read<T> {
  readonly value: T
  /** False when the entry is not there; the value is then what the type reads as when empty. */
  readonly exists: boolean
  /** Concurrent writes that `value` does not show, the most recent first. */
  readonly concurrent: readonly Written<unknown>[]
  /** Ids of open conflicts in which the entry has a part, where there are any. */
  readonly conflicts?: readonly string[]
  /** Who wrote the newest part of it, and when. */
  readonly by: { readonly agent: string; readonly at: number } | undefined
  /** A causal token of what was read. */
  readonly version: string
}

export interface CellSibling extends Written<Value> {
  /** Where in the entry: a record's field path, a set's element. */
  readonly path: Value
  /** Milliseconds; 0 for never. */
  readonly expires: number
}

abstract class Handle<T> {
  readonly key: string
  readonly #access: Access
  readonly #type: CrdtType

  constructor(access: Access, key: string, type: CrdtType) {
    this.#access = access
    this.key = key
    this.#type = type
  }

  get(): Read<T> {
    const cells = this.cells()
    const { value, concurrent } = this.#type.read(cells)
    let last: Sibling | undefined
    const heads = new Map<string, number>()
    for (const [, siblings] of cells.all()) {
      for (const sibling of siblings) {
        last = last === undefined ? sibling : newest([last, sibling])
        if (sibling.seq > (heads.get(sibling.origin) ?? 0)) heads.set(sibling.origin, sibling.seq)
      }
    }
    const by = last && written(last, undefined)
    return {
      value: value as T,
      exists: last !== undefined,
      concurrent,
      ...this.#access.conflicts(this.key),
      by: by && { agent: by.agent, at: by.at },
      version: versionOf(heads),
    }
  }

  /** Every live sibling of every cell, as it was written. */
  siblings(): CellSibling[] {
    const all: CellSibling[] = []
    for (const [path, siblings] of this.cells().all()) {
      for (const sibling of siblings) {
        all.push({ path: pathValue(path), expires: sibling.expires, ...written(sibling, decodeValue(sibling.value)) })
      }
    }
    return all
  }

  /** Who changed this entry, when and why, oldest first, as far back as the log goes. */
  history(): Promise<readonly HistoryItem[]> {
    return this.#access.history(this.key)
  }

  watch(options: WatchOptions = {}): Watch {
    return this.#access.watchKey(this.key, options)
  }

  /** Deletes the entry, whatever types are alive under its key. */
  delete(): Receipt {
    return this.#access.remove(this.key)
  }

  protected cells(): Cells {
    return this.#access.cells(this.key, this.#type)
  }

  protected run<Result = undefined>(operation: string, args: Readonly<Record<string, unknown>>): Receipt<Result> {
    return this.#access.run(this.key, this.#type, operation, args) as Receipt<Result>
  }
}

/** Maximal dots, in the order of their origins. */
export function versionOf(heads: ReadonlyMap<string, number>): string {
  return [...heads]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([origin, seq]) => `${origin}-${seq.toString(36)}`)
    .join('_')
}

export class RegisterHandle<T = Value> extends Handle<T | undefined> {
  constructor(access: Access, key: string) {
    super(access, key, register)
  }

  set(value: T): Receipt {
    return this.run('set', { value })
  }
}

/** Fields to set: nested objects are merged field by field. */
export type Fields<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { readonly [Name in keyof T]?: Fields<T[Name]> | undefined }
    : T

export class RecordHandle<T = { readonly [name: string]: Value }> extends Handle<T | undefined> {
  constructor(access: Access, key: string) {
    super(access, key, record)
  }

  /** A record without a field is not there: its value is undefined. */
  override get(): Read<T | undefined> {
    const read = super.get()
    return read.exists ? read : { ...read, value: undefined }
  }

  /** Writes the fields that it names and leaves the others. */
  set(fields: Fields<T>): Receipt {
    return this.run('set', { fields })
  }

  /** Removes fields: a name, or the names on the way to a nested one. */
  unset(...paths: readonly (string | readonly string[])[]): Receipt {
    return this.run('unset', { paths })
  }
}

export class CounterHandle extends Handle<number> {
  constructor(access: Access, key: string) {
    super(access, key, counter)
  }

  incr(by: number = 1): Receipt {
    return this.run('incr', { by })
  }
}

export class SetHandle<T = Value> extends Handle<readonly T[]> {
  constructor(access: Access, key: string) {
    super(access, key, set)
  }

  add(...values: readonly T[]): Receipt {
    return this.run('add', { values })
  }

  /** A concurrent add of the same element wins. */
  remove(...values: readonly T[]): Receipt {
    return this.run('remove', { values })
  }

  /** The removal wins over concurrent adds. */
  removeForGood(...values: readonly T[]): Receipt {
    return this.run('remove', { values, wins: 'remove' })
  }
}

export class FlagHandle extends Handle<boolean> {
  constructor(access: Access, key: string) {
    super(access, key, flag)
  }

  enable(): Receipt {
    return this.run('enable', {})
  }

  /** A concurrent enable wins, unless `wins` says otherwise. */
  disable(options: { readonly wins?: 'disable' } = {}): Receipt {
    return this.run('disable', { ...options })
  }
}

export class LogHandle<T = Value> extends Handle<readonly T[]> {
  constructor(access: Access, key: string) {
    super(access, key, log)
  }

  append(...values: readonly T[]): Receipt {
    return this.run('append', { values })
  }

  /** Appends and keeps only the newest `keep` items. */
  appendKeeping(keep: number, ...values: readonly T[]): Receipt {
    return this.run('append', { values, keep })
  }
}

export class ListHandle<T = Value> extends Handle<readonly T[]> {
  constructor(access: Access, key: string) {
    super(access, key, list)
  }

  insert(at: number, ...values: readonly T[]): Receipt {
    return this.run('insert', { at, values })
  }

  remove(at: number, count: number = 1): Receipt {
    return this.run('remove', { at, count })
  }

  move(from: number, to: number): Receipt {
    return this.run('move', { from, to })
  }
}

export interface ClaimState {
  readonly holder: string | null
  readonly fence: number
  /** Wall-clock milliseconds. */
  readonly until: number
}

export interface Held {
  readonly fence: number
  readonly until: number
}

export class ClaimHandle extends Handle<ClaimState> {
  constructor(access: Access, key: string) {
    super(access, key, claim)
  }

  /** Throws claim_held while another agent holds it. */
  acquire(ttlMs: number): Receipt<Held> {
    return this.run('acquire', { ttlMs })
  }

  renew(fence: number, ttlMs: number): Receipt<Held> {
    return this.run('renew', { fence, ttlMs })
  }

  release(fence: number): Receipt {
    return this.run('release', { fence })
  }

  /**
   * Acquires, works, renews meanwhile, releases. The work's signal says that the claim is lost; then this fails with
   * `stale_fence`, whatever the work answers.
   */
  hold<T>(work: Work<T>, options: HoldOptions = {}): Promise<T> {
    const claim: Holdable = {
      key: this.key,
      acquire: async (ttlMs) => storedResult(this.acquire(ttlMs)),
      renew: async (fence, ttlMs) => storedResult(this.renew(fence, ttlMs)),
      release: async (fence) => this.release(fence).durable,
      read: async () => this.get().value,
      changes: (signal) => this.watch({ signal }),
    }
    return hold(claim, work, options)
  }
}

async function storedResult<Result>(receipt: Receipt<Result>): Promise<Result> {
  await receipt.durable
  return receipt.result
}

export interface BudgetState {
  readonly granted: number
  readonly spent: number
  readonly held: number
  readonly revoked: number
  readonly available: number
  readonly rights: Readonly<Record<string, number>>
  readonly overspent: number
}

export class BudgetHandle extends Handle<BudgetState> {
  constructor(access: Access, key: string) {
    super(access, key, budget)
  }

  grant(amount: number): Receipt {
    return this.run('grant', { amount })
  }

  /** Throws budget_exceeded rather than overspend. */
  spend(amount: number): Receipt {
    return this.run('spend', { amount })
  }

  /** Sets rights aside for a cost that is known later. */
  reserve(amount: number): Receipt<{ readonly id: string }> {
    return this.run('reserve', { amount })
  }

  settle(id: string, amount: number): Receipt {
    return this.run('settle', { id, amount })
  }

  refund(id: string): Receipt {
    return this.run('refund', { id })
  }

  revoke(amount: number): Receipt {
    return this.run('revoke', { amount })
  }

  transfer(to: string, amount: number): Receipt {
    return this.run('transfer', { to, amount })
  }
}

export class TextHandle extends Handle<string> {
  constructor(access: Access, key: string) {
    super(access, key, text)
  }

  insert(at: number, text: string): Receipt {
    return this.run('insert', { at, text })
  }

  override delete(): Receipt
  override delete(at: number, count: number): Receipt
  override delete(at?: number, count?: number): Receipt {
    return at === undefined ? super.delete() : this.run('delete', { at, count })
  }

  /** Takes in an update that a Yjs client made, in format V1. */
  update(update: Uint8Array): Receipt {
    return this.run('update', { update })
  }

  /** The document as a Yjs update: what a client lacks whose state vector is given, or all of it. */
  asUpdate(stateVector?: Uint8Array): Uint8Array {
    return stateAsUpdate(this.cells(), stateVector)
  }

  /** A Y.Doc of its own for the caller. */
  asDoc(): ReturnType<typeof ydoc> {
    return ydoc(this.cells())
  }
}

export class DocHandle<T = Value> extends Handle<T> {
  constructor(access: Access, key: string) {
    super(access, key, doc)
  }

  set(path: readonly (string | number)[], value: Value): Receipt {
    return this.run('set', { path, value })
  }

  unset(path: readonly (string | number)[]): Receipt {
    return this.run('unset', { path })
  }

  /** Takes in a change that an Automerge client made. */
  change(change: Uint8Array): Receipt {
    return this.run('change', { change })
  }

  /** An Automerge document of its own for the caller. */
  asDoc(): ReturnType<typeof automergeDoc> {
    return automergeDoc(this.cells())
  }
}
