/**
 * Taking a task that nobody has: the entries under a prefix are tasks, and each has a claim beside it. Agents that ask at
 * the same time begin at different ones, each time in another order, so they neither all try the first nor leave one to
 * the last. A task that cannot be had is passed over.
 */
import { utf8 } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { checksum32 } from '../base/hash.ts'
import type { HeldClaim } from './hold.ts'
import { checkWhere, fits } from './where.ts'
import type { Where } from './where.ts'

export interface NextOptions {
  /** How long the claim stands unless it is renewed: 30 s unless told otherwise. */
  readonly ttlMs?: number
  /** Only records with these fields. */
  readonly where?: Where
  /** The key of a task's claim: `<key>/claim` unless told otherwise. */
  readonly claimOf?: (key: string) => string
  readonly signal?: AbortSignal
}

export interface Task {
  readonly key: string
  readonly type: string
  readonly value: unknown
}

/** A space, wherever its node is. */
export interface TaskSpace {
  entries(query: { readonly prefix: string; readonly where: Where; readonly signal?: AbortSignal }): AsyncIterable<Task>
  read(key: string): Promise<Task | undefined>
  /** Acquires what nobody holds, this agent included; resolves when that is durable. Undefined when somebody does. */
  take(claim: string, ttlMs: number): Promise<HeldClaim | undefined>
  release(claim: string, fence: number): Promise<void>
}

export type TakenTask = Task & HeldClaim & { readonly claimKey: string }

const usualTtlMs = 30_000

/** Undefined when there is none that is free. `salt` is another at each call. */
export async function claimNext(
  space: TaskSpace,
  prefix: string,
  options: NextOptions,
  salt: string,
): Promise<TakenTask | undefined> {
  const { ttlMs = usualTtlMs, where = {}, claimOf = (key: string) => `${key}/claim`, signal } = options
  checkWhere(where)
  const query = { prefix, where, ...(signal !== undefined && { signal }) }
  const found: { readonly key: string; readonly rank: number }[] = []
  for await (const { key, type } of space.entries(query)) {
    signal?.throwIfAborted()
    if (type !== 'claim') found.push({ key, rank: rankOf(salt, key) })
  }
  found.sort((one, other) => one.rank - other.rank)
  for (const { key } of found) {
    signal?.throwIfAborted()
    const claimKey = claimOf(key)
    const held = await space.take(claimKey, ttlMs)
    if (held === undefined) continue
    // It may have been done, or have gone, since it was listed.
    const task = await space.read(key)
    if (task !== undefined && fits(where, task.type, task.value)) return { ...task, ...held, claimKey }
    await space.release(claimKey, held.fence)
  }
  return undefined
}

function rankOf(salt: string, key: string): number {
  const bytes = utf8(`${salt}/${key}`)
  return checksum32(bytes, 0, bytes.length, 0)
}

/** Somebody was faster, or the task is held until a conflict is settled. */
const notFree: readonly string[] = ['claim_held', 'version_mismatch', 'entry_held']

/** Undefined for what fails because the task cannot be had. */
export async function unlessHeld<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise
  } catch (error) {
    if (error instanceof SkeinError && notFree.includes(error.code)) return undefined
    throw error
  }
}
