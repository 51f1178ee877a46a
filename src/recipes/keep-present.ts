/** Being present for as long as something lasts: shown again well before it would end, and withdrawn at the end. */
import { SkeinError } from '../base/errors.ts'

/** One value of one agent, wherever the node is. */
export interface Shown {
  set(ttlMs: number): Promise<void>
  clear(): Promise<void>
}

export interface KeepOptions {
  /** Ends it. */
  readonly signal: AbortSignal
  /** How long it outlives a process that is gone without a word: 30 s unless told otherwise. */
  readonly ttlMs?: number
}

const usualTtlMs = 30_000
/** After how much of its time it is shown again. */
const againAfter = 1 / 3

/** Resolves once the signal came and it is withdrawn. Rejects where it was refused; a node that is away is tried again. */
export async function keepPresent(shown: Shown, { signal, ttlMs = usualTtlMs }: KeepOptions): Promise<void> {
  if (!(signal instanceof AbortSignal)) throw new SkeinError('invalid_argument', 'keep takes a signal that ends it')
  if (signal.aborted) return
  await shown.set(ttlMs)
  while (!signal.aborted) {
    await elapsed(ttlMs * againAfter, signal)
    if (signal.aborted) break
    try {
      await shown.set(ttlMs)
    } catch (error) {
      if (!(error instanceof SkeinError && error.retryable)) throw error
    }
  }
  await shown.clear().catch((error: unknown) => {
    // With its node it is gone anyway.
    if (!(error instanceof SkeinError && error.code === 'closed')) throw error
  })
}

function elapsed(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end)
  })
}
