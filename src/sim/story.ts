/**
 * The story of a run: everything that is done to the nodes, as a list. A seed expands into one (options.ts); shrinking is
 * leaving parts of it out. Whatever chance an action needs is in it as a number of its own, so that it does the same
 * when others are gone.
 */
import type { SimOptions } from './options.ts'

export interface Story {
  readonly options: SimOptions
  /** In the order of their time. */
  readonly actions: readonly Action[]
}

interface Timed {
  /** Virtual milliseconds since the start. */
  readonly at: number
  /** For what the action leaves open. */
  readonly chance: number
}

/** Some writes of one agent in one transaction. */
export interface WriteAction extends Timed {
  readonly kind: 'write'
  readonly node: number
  readonly space: number
  readonly operations: number
}

/** An agent shows something of itself for a while, or withdraws it. */
export interface ShowAction extends Timed {
  readonly kind: 'show'
  readonly node: number
  readonly space: number
  readonly agent: string
  /** 0: it withdraws. */
  readonly ttlMs: number
}

/** The process is killed, the host loses its power, or it is stopped in order; and starts again. */
export interface CrashAction extends Timed {
  readonly kind: 'crash'
  readonly node: number
  readonly how: 'kill' | 'power' | 'stop'
  readonly forMs: number
}

/** A process that does not run for a while: what comes in waits. */
export interface FreezeAction extends Timed {
  readonly kind: 'freeze'
  readonly node: number
  readonly forMs: number
}

/** The wall clock jumps. */
export interface ClockAction extends Timed {
  readonly kind: 'clock'
  readonly node: number
  readonly byMs: number
}

/** Who may talk to whom. Links across are reset, or swallow what is sent over them as if nothing had happened. */
export interface PartitionAction extends Timed {
  readonly kind: 'partition'
  readonly forMs: number
  /** The side of each node. */
  readonly sides: readonly number[]
  readonly how: 'reset' | 'hole'
  /** Only from side 0 to the others. */
  readonly oneWay: boolean
  /** It comes and goes so often; 0 for steady. */
  readonly flapMs: number
}

/** What happens to messages between two nodes, or between all where none are named. Per mille. */
export interface WeatherAction extends Timed {
  readonly kind: 'weather'
  readonly forMs: number
  readonly from: number | undefined
  readonly to: number | undefined
  readonly loss: number
  readonly duplicate: number
  readonly reorder: number
  readonly garble: number
  readonly delayMs: number
}

export interface SlowLinkAction extends Timed {
  readonly kind: 'slow-link'
  readonly forMs: number
  readonly from: number
  readonly to: number
  readonly bytesPerSecond: number
}

/** Every link between the two is closed, or goes silent in one direction for good. */
export interface LinkAction extends Timed {
  readonly kind: 'reset-links' | 'half-open'
  readonly from: number
  readonly to: number
}

export interface DiskAction extends Timed {
  readonly kind: 'disk-full' | 'disk-slow'
  readonly node: number
  readonly forMs: number
}

/**
 * backup: the directory is put aside. restore: the process is killed and an earlier backup takes the directory's place.
 * wipe: the directory is lost. damage: a row is lost in silence (`vanish`) or can no longer be read (`unreadable`).
 */
export interface DirectoryAction extends Timed {
  readonly kind: 'backup' | 'restore' | 'wipe' | 'vanish' | 'unreadable'
  readonly node: number
}

/** A node ends a space; its name begins anew, as another generation. */
export interface DeleteSpaceAction extends Timed {
  readonly kind: 'delete-space'
  readonly node: number
  readonly space: number
}

/** The directory of one node, copied, takes the place of another's. */
export interface CloneAction extends Timed {
  readonly kind: 'clone'
  readonly from: number
  readonly to: number
}

/** The memory of one node, as its disk has it, runs on a second time in another's place, under the very same incarnation. */
export interface TwinAction extends Timed {
  readonly kind: 'twin'
  readonly from: number
  readonly to: number
}

export type Action =
  | WriteAction
  | ShowAction
  | CrashAction
  | FreezeAction
  | ClockAction
  | PartitionAction
  | WeatherAction
  | SlowLinkAction
  | LinkAction
  | DiskAction
  | DirectoryAction
  | CloneAction
  | TwinAction
  | DeleteSpaceAction

export function describe(action: Action): string {
  switch (action.kind) {
    case 'write':
      return `node ${action.node} writes ${action.operations} in space ${action.space}`
    case 'show':
      return `node ${action.node}: ${action.agent} shows itself in space ${action.space} for ${action.ttlMs} ms`
    case 'crash':
      return `node ${action.node}: ${action.how}, down for ${action.forMs} ms`
    case 'freeze':
      return `node ${action.node} does not run for ${action.forMs} ms`
    case 'clock':
      return `node ${action.node}: its clock jumps by ${action.byMs} ms`
    case 'partition': {
      const way = action.oneWay ? ' from side 0' : ''
      const flap = action.flapMs > 0 ? `, coming and going every ${action.flapMs} ms` : ''
      return `partition ${action.sides.join('')} (${action.how}${way}${flap}) for ${action.forMs} ms`
    }
    case 'weather': {
      const { loss, duplicate, reorder, garble, delayMs } = action
      const rates = Object.entries({ loss, duplicate, reorder, garble }).filter(([, rate]) => rate > 0)
      const said = rates.map(([name, rate]) => `${name} ${rate / 10} %`).join(', ')
      return `weather from ${action.from ?? 'all'} to ${action.to ?? 'all'}: ${said} delay ${delayMs} ms, for ${action.forMs} ms`
    }
    case 'slow-link':
      return `the link from ${action.from} to ${action.to} takes ${action.bytesPerSecond} bytes a second for ${action.forMs} ms`
    case 'reset-links':
      return `the links between ${action.from} and ${action.to} are reset`
    case 'half-open':
      return `the links from ${action.from} to ${action.to} go silent`
    case 'disk-full':
    case 'disk-slow':
      return `node ${action.node}: ${action.kind} for ${action.forMs} ms`
    case 'backup':
    case 'restore':
    case 'wipe':
    case 'vanish':
    case 'unreadable':
      return `node ${action.node}: ${action.kind}`
    case 'delete-space':
      return `node ${action.node} deletes space ${action.space}`
    case 'twin':
      return `the memory of node ${action.from} runs at node ${action.to} too`
    case 'clone':
      return `the directory of node ${action.from} is copied to node ${action.to}`
  }
}
