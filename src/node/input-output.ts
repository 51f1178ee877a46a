/** What a machine is fed, what it wants done, and what it tells: the words between it and whoever drives it. */
import type { Report, SessionReport, SyncEvent } from '../anti-entropy/output.ts'
import type { Row, RowReader } from '../base/rows.ts'
import type { Dot } from '../crdt/dot.ts'
import type { Member } from '../gossip/membership.ts'
import type { PresenceInput, PresenceOutput } from '../gossip/presence.ts'
import type { ConflictEvent, WorkflowEvent } from '../replica/conflicts.ts'
import type { Blocker } from '../replica/cut.ts'
import type { MemberState, NodeId } from '../wire/frame.ts'
import type { LinkId, LinkOutput } from './links.ts'

export type Input =
  /** The link is up. */
  | {
      readonly kind: 'opened'
      readonly link: LinkId
      readonly outgoing: boolean
      /** Who is at the other end, where the transport has proven it. */
      readonly node?: NodeId | undefined
    }
  /** It is gone, or could not be dialled. */
  | { readonly kind: 'closed'; readonly link: LinkId }
  | { readonly kind: 'message'; readonly link: LinkId; readonly bytes: Uint8Array }
  /** Everything that was sent over it has left. */
  | { readonly kind: 'drained'; readonly link: LinkId }
  /** `wakeAt` is reached. */
  | { readonly kind: 'timer' }
  /** That batch of the replica is in the store; `durable`: with it, all before is as durable as this node gets. */
  | { readonly kind: 'stored'; readonly batch: number; readonly durable: boolean }
  /** All that is in the store is as durable as this node gets: after opening, once it was synced. */
  | { readonly kind: 'durable' }
  /** Rows of a scan, asked for by `more`. */
  | {
      readonly kind: 'page'
      readonly scan: number
      readonly rows: readonly Row[]
      readonly done: boolean
      /** The moment of the store that they come from. */
      readonly snapshot: RowReader
    }
  /** The rows of a scan cannot be read. */
  | { readonly kind: 'page-failed'; readonly scan: number; readonly why: string }
  /** The replica was written to. */
  | { readonly kind: 'local' }
  /** An agent shows something of itself. */
  | { readonly kind: 'show'; readonly shown: PresenceInput & { readonly kind: 'set' } }
  /** Sixteen fresh random hexadecimal digits, as `renew` asked for. */
  | { readonly kind: 'incarnation'; readonly incarnation: string }
  /** The event loop was late by so much: the machine's own sickness. */
  | { readonly kind: 'lag'; readonly lagMs: number }
  /** Somebody was heard of in another way than from members: on the local network. */
  | { readonly kind: 'found'; readonly node: NodeId; readonly address: string }
  /** Say goodbye to everybody. */
  | { readonly kind: 'leave' }

export type Output =
  | LinkOutput
  /** Rows wait for the disk: take a batch as soon as none is under way. */
  | { readonly kind: 'persist' }
  /** Take a snapshot of the store now; its entry rows of that local space number come in pages. */
  | { readonly kind: 'scan'; readonly scan: number; readonly space: number }
  | { readonly kind: 'more'; readonly scan: number }
  | { readonly kind: 'end-scan'; readonly scan: number }
  /** Another incarnation is needed, from the system's chance: this memory is a copy of one that wrote on. */
  | { readonly kind: 'renew' }
  | { readonly kind: 'event'; readonly event: MachineEvent }

export type MachineEvent =
  | { readonly kind: 'peer'; readonly node: NodeId; readonly state: 'up' | 'down' }
  /** What is thought of a member. */
  | { readonly kind: 'member'; readonly member: Member; readonly before: MemberState | undefined }
  /** A delta of this origin speaks of what its writer cannot have seen: it was applied void. */
  | { readonly kind: 'void'; readonly space: string; readonly dot: Dot; readonly why: string }
  /** What anti-entropy found and what it did. */
  | { readonly kind: 'sync'; readonly event: SyncEvent }
  | { readonly kind: 'session'; readonly report: SessionReport }
  /** A peer told what its disk has, or what it holds at all. */
  | { readonly kind: 'word'; readonly report: Exclude<Report, SessionReport> }
  /** Deltas that waited for what nobody had. */
  | { readonly kind: 'dropped'; readonly space: string; readonly dots: readonly Dot[] }
  /** Logs were over their size and went although these members lack them: they will need the tree. */
  | { readonly kind: 'pruned'; readonly aboveCut: number; readonly blockers: readonly Blocker[] }
  /** A conflict came to be on record, got another branch, or was settled. */
  | { readonly kind: 'conflict'; readonly event: ConflictEvent }
  | { readonly kind: 'workflow'; readonly event: WorkflowEvent }
  /** An agent came, shows something else, or went. */
  | { readonly kind: 'presence'; readonly change: Exclude<PresenceOutput, { readonly kind: 'send' }> }
  | { readonly kind: 'failed'; readonly code: string; readonly reason: string }
  | { readonly kind: 'refused'; readonly code: string; readonly reason: string }
