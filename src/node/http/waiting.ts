/** How long an answer to a write waits, and for what: `wait=` and `timeout=`. */
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { FleetView } from './fleet-view.ts'
import { parseVersion } from './version.ts'

export interface Wait {
  readonly for: 'none' | 'durable' | 'all' | { readonly peers: number }
  readonly timeoutMs: number
}

/** What a request waits that says nothing. A guess: above a slow disk, below the patience of most clients. */
export const defaultTimeoutMs = 10_000
export const durably: Wait = { for: 'durable', timeoutMs: defaultTimeoutMs }

export const waitPattern = '^(none|durable|all|peers:[0-9]{1,4})$'

export function waitOf(text: string | undefined, timeoutMs: number | undefined): Wait {
  if (timeoutMs !== undefined && !(timeoutMs >= 0 && timeoutMs <= limits.waitMs)) {
    throw new SkeinError('invalid_argument', `timeout is from 0 to ${limits.waitMs} milliseconds`, {
      argument: 'timeout',
    })
  }
  if (text === undefined && timeoutMs === undefined) return durably
  const peers = /^peers:([0-9]{1,4})$/.exec(text ?? '')?.[1]
  const wanted = peers === undefined ? text : { peers: Number(peers) }
  if (
    wanted !== undefined &&
    typeof wanted === 'string' &&
    wanted !== 'none' &&
    wanted !== 'durable' &&
    wanted !== 'all'
  ) {
    throw new SkeinError('invalid_argument', 'wait is none, durable, peers:k or all', { argument: 'wait' })
  }
  return { for: wanted ?? 'durable', timeoutMs: timeoutMs ?? defaultTimeoutMs }
}

export interface Settled {
  /** It survives what its durability names. False: applied here, and not known to be safe yet. */
  readonly durable: boolean
  readonly reached?: { readonly met: boolean; readonly reached: readonly string[]; readonly missing: readonly string[] }
}

export async function settled(
  fleet: FleetView,
  space: string,
  version: string,
  /** Asked for only where somebody waits: a promise that nobody looks at must not fail. */
  safe: () => Promise<void>,
  wait: Wait,
): Promise<Settled> {
  if (wait.for === 'none') return { durable: false }
  const startedMs = performance.now()
  const durable = await within(safe(), wait.timeoutMs)
  if (wait.for === 'durable') return { durable }
  const leftMs = Math.max(0, wait.timeoutMs - (performance.now() - startedMs))
  const { dots } = parseVersion(version)
  return { durable, reached: await fleet.reached(space, dots, wait.for, leftMs) }
}

async function within(promise: Promise<void>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs)
  })
  try {
    return await Promise.race([promise.then(() => true), late])
  } finally {
    clearTimeout(timer)
  }
}
