/**
 * Rare paths, counted. A campaign that never took one of them has not tested it, whatever it says: it fails and names the
 * path. (FoundationDB's and Antithesis' "sometimes" assertions.)
 */
import type { MachineEvent } from '../node/machine.ts'

/** What a full campaign must have met. The rest is counted as it comes. */
export const required: readonly string[] = [
  'write: made',
  'write: expired',
  'write: refused, the disk is full',
  'delta: received',
  'waiting room: used',
  'disk: unsynced batches lost',
  'disk: full, a write was refused',
  'disk: a batch outlived its process',
  'link: cut',
  'message: lost',
  'message: doubled',
  'message: reordered',
  'message: garbled',
  'message: into the void',
  'fault: restore',
  'fault: clone',
  'fault: wipe',
  'fault: crash amid a snapshot',
  'fault: twin',
  'fork: found',
  'fork: settled',
  'check: acknowledged write',
  'disk: full, and then it took the batch',
  'session: deltas, done',
  'session: adopting, done',
  'session: adopting, lost',
  'session: adopting, late',
  'adoption: a sealed snapshot is folded in',
  'log: a part of it was pruned',
  'member: suspect',
  'member: dead',
  'member: left',
  'member: a suspicion was refuted',
  'fault: down for ever',
  'fault: dumb for ever',
  'fault: delete-space',
  'write: budget_exceeded',
  'write: claim_held',
  'write: stale_fence',
  'check: an agent is present',
]

export function marksOf(event: MachineEvent): string[] {
  if (event.kind === 'session') return [`session: ${event.report.step}, ${event.report.outcome}`]
  if (event.kind === 'sync' && event.event.kind === 'fork') {
    return ['sync: fork', event.event.settled ? 'fork: settled' : 'fork: found']
  }
  if (event.kind === 'sync') return [`sync: ${event.event.kind}`]
  if (event.kind === 'member') {
    const { member, before } = event
    const isRefuted = before === 'suspect' && member.state === 'alive'
    return [`member: ${member.state}`, ...(isRefuted ? ['member: a suspicion was refuted'] : [])]
  }
  return [`event: ${event.kind}`]
}

export function unmet(counts: ReadonlyMap<string, number>): string[] {
  return required.filter((mark) => (counts.get(mark) ?? 0) === 0)
}
