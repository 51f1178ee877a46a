/**
 * Working under a claim: acquire it, renew it while the work goes on, tell the work at once when it is lost, release it at
 * the end. Lost is: another holds it, or it could not be renewed before it ran out, by this process's own steady clock,
 * counted from before each renewal was asked for.
 *
 * A claim that ran out may be taken while its holder still works: the work must stop when its signal says so, and whatever
 * it touches should refuse a fence below the highest that it has seen.
 */
import { SkeinError } from '../base/errors.ts'

export interface HeldClaim {
  readonly fence: number
  readonly until: number
}

/** A claim, wherever its node is. Each promise resolves when the change is durable. */
export interface Holdable {
  readonly key: string
  acquire(ttlMs: number): Promise<HeldClaim>
  renew(fence: number, ttlMs: number, signal: AbortSignal): Promise<HeldClaim>
  release(fence: number): Promise<void>
  /** The live fence, with a holder or without. */
  read(): Promise<{ readonly holder: string | null; readonly fence: number }>
  /** Something comes whenever the claim may have changed. */
  changes(signal: AbortSignal): AsyncIterable<unknown>
}

export interface HoldOptions {
  /** How long the claim outlives a holder that is gone: 30 s unless told otherwise. It is renewed after a third of it. */
  readonly ttlMs?: number
  /** Tells the work to stop; the claim is released when it has. */
  readonly signal?: AbortSignal
}

export type Work<T> = (signal: AbortSignal, fence: number) => T | Promise<T>

/** The time that a browser's or host's hiccup takes is well below a third of it. A guess. */
const usualTtlMs = 30_000
/** After how much of its time it is renewed, and, where that failed, tried again. */
const renewAfter = 1 / 3
const againAfter = 1 / 12
const mostTimerMs = 2 ** 31 - 1

/**
 * Resolves with what the work answers, once the claim is released. Rejects with `claim_held` where another holds it, with
 * what the work throws, and with `stale_fence` where the claim was lost, whatever the work answered.
 */
export async function hold<T>(claim: Holdable, work: Work<T>, options: HoldOptions = {}): Promise<T> {
  const { ttlMs = usualTtlMs, signal } = options
  signal?.throwIfAborted()
  let askedMs = performance.now()
  const { fence } = await claim.acquire(ttlMs)
  const end = new AbortController()
  const stop = new AbortController()
  let lost: SkeinError | undefined
  const lose = (why: string): void => {
    if (end.signal.aborted) return
    lost = new SkeinError('stale_fence', `fence ${fence} of ${claim.key} was lost: ${why}`, { fence })
    end.abort()
    stop.abort(lost)
  }
  const onAbort = (): void => stop.abort(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  if (signal?.aborted === true) onAbort()
  let renewal: NodeJS.Timeout | undefined
  let expiry: NodeJS.Timeout | undefined
  const held = (sinceMs: number): void => {
    clearTimeout(expiry)
    const leftMs = sinceMs + ttlMs - performance.now()
    expiry = setTimeout(() => lose('it could not be renewed in time'), Math.min(leftMs, mostTimerMs))
  }
  const plan = (afterMs: number): void => {
    renewal = setTimeout(() => void renew(), Math.min(afterMs, mostTimerMs))
  }
  const renew = async (): Promise<void> => {
    askedMs = performance.now()
    try {
      await claim.renew(fence, ttlMs, end.signal)
      if (end.signal.aborted) return
      held(askedMs)
      plan(ttlMs * renewAfter)
    } catch (error) {
      if (end.signal.aborted) return
      if (error instanceof SkeinError && error.code === 'stale_fence') lose('another acquired it')
      // A full disk, a node that is away: there is time left to try again.
      else plan(ttlMs * againAfter)
    }
  }
  const look = async (): Promise<void> => {
    const check = async (): Promise<void> => {
      const now = await claim.read()
      if (now.fence !== fence) lose(`the live one is ${now.fence}`)
      else if (now.holder === null) lose('it was released')
    }
    try {
      const changes = claim.changes(end.signal)
      // What happened before the watch began is in the claim by now.
      await check()
      for await (const _change of changes) await check()
    } catch {
      // Who cannot look still renews.
    }
  }
  held(askedMs)
  plan(ttlMs * renewAfter)
  void look()
  try {
    const result = await work(stop.signal, fence)
    if (lost !== undefined) throw lost
    return result
  } finally {
    end.abort()
    clearTimeout(renewal)
    clearTimeout(expiry)
    signal?.removeEventListener('abort', onAbort)
    const released = claim.release(fence).catch((error: unknown) => {
      // It runs out by itself.
      if (lost === undefined && error instanceof SkeinError && error.code === 'stale_fence') throw error
    })
    if (lost === undefined) await released
    else released.catch(() => undefined)
  }
}
