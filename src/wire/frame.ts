/**
 * What two nodes say to each other, as data. A message on a link is one or more frames; codec.ts turns them into bytes
 * and back. docs/PROTOCOL.md is the precise text; a second implementation needs only that.
 *
 * Frames below 0x40 are protocol 1. A reader skips kinds that it does not know and fields beyond those it knows, so that a
 * later minor version may add both.
 */
import type { Dot, OriginId } from '../crdt/dot.ts'

export type { Dot, OriginId }

declare const nodeBrand: unique symbol
/** 16 hexadecimal digits: the part of an origin that stays the same over a node's incarnations. */
export type NodeId = string & { readonly [nodeBrand]: true }

declare const spaceBrand: unique symbol
/** 16 hexadecimal digits: a hash of a space's name and generation. Links name spaces by it. */
export type SpaceId = string & { readonly [spaceBrand]: true }

/** The first frame in each direction. Nothing else is read before it. */
export interface Hello {
  readonly kind: 'hello'
  readonly major: number
  readonly minor: number
  /** 16 hexadecimal digits: nodes of different fleets refuse each other. */
  readonly fleet: string
  readonly node: NodeId
  /** 16 hexadecimal digits, new at every open. */
  readonly incarnation: string
  /** Its wall clock: a peer too far off is refused here, and never a single delta. */
  readonly nowMs: number
  /** Where it can be dialled; empty when it cannot. */
  readonly address: string
}

/** The last frame: why the link is closed. */
export interface Refuse {
  readonly kind: 'refuse'
  readonly code: string
  readonly reason: string
}

export interface HeldSpace {
  readonly id: SpaceId
  readonly name: string
  readonly generation: number
}

/** The spaces that the sender holds, all of them; sent after hello and when that changes. */
export interface Spaces {
  readonly kind: 'spaces'
  readonly spaces: readonly HeldSpace[]
}

export type MemberState = 'alive' | 'suspect' | 'dead' | 'left'

/** What somebody says of a member (SWIM). The higher incarnation wins, then the worse state. */
export interface MemberStatement {
  readonly node: NodeId
  readonly address: string
  /** SWIM's incarnation of the statement, not the origin's. */
  readonly incarnation: number
  readonly state: MemberState
  readonly zone: string
  /** Major * 1000 + minor of the wire protocol that it speaks. */
  readonly version: number
  /** Who says so, for suspicions: Lifeguard counts independent ones. */
  readonly by: NodeId
}

export interface Ping {
  readonly kind: 'ping'
  readonly seq: number
  readonly updates: readonly MemberStatement[]
}

/** Answer to a ping; `seq` is the ping's. */
export interface Ack {
  readonly kind: 'ack'
  readonly seq: number
  readonly updates: readonly MemberStatement[]
}

/** Please ping `target` for me, and ack or nack. */
export interface PingRequest {
  readonly kind: 'ping-request'
  readonly seq: number
  readonly target: NodeId
  readonly address: string
  readonly updates: readonly MemberStatement[]
}

/** The asked one lives and has not heard of the target yet (Lifeguard). */
export interface Nack {
  readonly kind: 'nack'
  readonly seq: number
}

/** Everything that the sender knows of members: to somebody who joins, and now and then. */
export interface Members {
  readonly kind: 'members'
  readonly members: readonly MemberStatement[]
  /** Asks for the other's list. */
  readonly answer: boolean
}

/** Deltas of one origin with consecutive sequences. */
export interface Run {
  readonly origin: OriginId
  /** Of the first body. */
  readonly seq: number
  readonly bodies: readonly Uint8Array[]
}

/** Whole deltas, in an order in which they may be applied. */
export interface Deltas {
  readonly kind: 'deltas'
  readonly space: SpaceId
  readonly runs: readonly Run[]
  /** `push`: broadcast. `catch-up`: answer to a vector or a pull. */
  readonly cause: 'push' | 'catch-up'
  /** Over how many hops the sender has them from their writers, at most 31; 0 for his own, and in a catch-up. */
  readonly hops: number
  /** Of a catch-up that was cut: there is more where this came from. Without a run: but no longer in the log. */
  readonly more: boolean
}

/** The sender has these origins up to these sequences (lazy push). Without dots: take me as a neighbour in this space. */
export interface Notice {
  readonly kind: 'notice'
  readonly space: SpaceId
  readonly dots: readonly Dot[]
}

/** Send me what follows these dots; `graft` also asks for pushes from now on. */
export interface Pull {
  readonly kind: 'pull'
  readonly space: SpaceId
  readonly after: readonly Dot[]
  readonly graft: boolean
}

/** Push no more of what these nodes write to me, notices will do. */
export interface Prune {
  readonly kind: 'prune'
  readonly space: SpaceId
  /** Empty: of nobody. The receiver is no neighbour of the sender in this space any more. */
  readonly writers: readonly NodeId[]
}

/** Step 1 of anti-entropy: what the sender holds of a space in some 24 bytes. Equal means done, without an answer. */
export interface Greeting {
  readonly kind: 'greeting'
  readonly space: SpaceId
  /** 8 bytes: sum over the vector, chain hashes included. */
  readonly context: Uint8Array
  /** 8 bytes of the root. */
  readonly root: Uint8Array
  /** Live siblings. */
  readonly count: number
  /** All of it is on the sender's disk. */
  readonly durable: boolean
  /** It is catching up: it claims no equality. */
  readonly catchingUp: boolean
  /** Greet me back, also when we are equal: the sender wants to know. */
  readonly answer: boolean
}

/**
 * Step 2: the sender's vector. In the short form origins are named by 32 bits: enough to know what to send, never to
 * claim anything by.
 */
export interface VectorFrame {
  readonly kind: 'vector'
  readonly space: SpaceId
  readonly entries: readonly VectorEntry[]
  /** Are these all that it has, or only what changed since the base? */
  readonly form: 'full' | 'short'
  /** Send me yours too: I may lack something. */
  readonly answer: boolean
}

export interface VectorEntry {
  /** The first 8 of 32 hexadecimal digits of a hash of the origin in the short form, the origin in the full one. */
  readonly origin: string
  readonly seq: number
}

/** What is on the sender's disk: what the cut counts. Also less than before; with sequence 0, nothing any more. */
export interface Stored {
  readonly kind: 'stored'
  readonly space: SpaceId
  readonly vector: readonly Dot[]
}

/** Say, with `stored`, once these are on your disk. Without dots: what is on it now. */
export interface StoredAsk {
  readonly kind: 'stored-ask'
  readonly space: SpaceId
  readonly vector: readonly Dot[]
}

export interface ChainHead {
  readonly origin: OriginId
  readonly seq: number
  /** 16 bytes. */
  readonly chain: Uint8Array
  /** The origin had two histories: this one stands, and ends here. */
  readonly fork?: Fork
}

/** Where two histories of an origin part, as far as those who met could tell. */
export interface Fork {
  /** Below it they are the same. */
  readonly seq: number
  /** The first sequence at which they are known to differ. */
  readonly at: number
  /** The first 8 bytes of the chain hash that stands there. */
  readonly link: Uint8Array
}

/** Chain hashes of an origin at neighbouring sequences from `from` on, 8 bytes each. */
export interface LinkRun {
  readonly origin: OriginId
  readonly from: number
  readonly links: Uint8Array
}

/** Chain hashes, told when vectors are equal and contexts are not, or where deltas did not follow: this finds a fork. */
export interface Chains {
  readonly kind: 'chains'
  readonly space: SpaceId
  readonly heads: readonly ChainHead[]
  /** Of origins that are thought to differ; without hashes where the sender has none besides its head. */
  readonly links: readonly LinkRun[]
  readonly answer: boolean
}

/** Step 3: I am below your log, or new, or damaged. Sums of my leaves, unless I have nothing. */
export interface TreeAsk {
  readonly kind: 'tree-ask'
  readonly space: SpaceId
  /** Made by the asker, for this link. */
  readonly session: number
  readonly vector: readonly ChainHead[]
  /** Leaf sums folded to `width` buckets of 8 bytes each; none when the asker holds nothing. */
  readonly sums: Uint8Array
  /** Continue an earlier session after the last key that was taken; empty for a new one. */
  readonly after: string
}

export interface Head extends ChainHead {
  readonly time: number
  /**
   * What the origin had seen at that delta other than the one whose head is told before it in the same frame: all of it in
   * the first. Sequence 0 takes an origin out.
   */
  readonly context: readonly Dot[]
  /** The chain hashes just before it, as far as the sender can show them: 8 bytes each, the last of them at seq - 1. */
  readonly links?: Uint8Array
}

/**
 * The answer: one snapshot of the sender, its vector with everything that comes with it, and which buckets differ. Many
 * heads come in several of these, all before the first cell.
 */
export interface TreeOffer {
  readonly kind: 'tree-offer'
  readonly space: SpaceId
  readonly session: number
  readonly heads: readonly Head[]
  /** One bit a bucket, empty for all. */
  readonly buckets: Uint8Array
  /** Live siblings in the snapshot, for progress. */
  readonly count: number
  /** The root of the snapshot, 16 bytes, and its count: what the adopter must reach if he has nothing of his own. */
  readonly root: Uint8Array
}

/**
 * Siblings of the differing buckets, in the order of a snapshot and in its canonical form, which names only the origins in
 * it. Cut between any two siblings; without bytes when nothing differs.
 */
export interface TreeCells {
  readonly kind: 'tree-cells'
  readonly space: SpaceId
  readonly session: number
  /** Numbered from 1; acknowledged by TreeAck. */
  readonly seq: number
  readonly cells: Uint8Array
  readonly last: boolean
}

/** The asker has taken chunks up to this one: credit for more. With `stop`, from either side: no more of this session. */
export interface TreeAck {
  readonly kind: 'tree-ack'
  readonly space: SpaceId
  readonly session: number
  readonly seq: number
  /** Ends the session at once. */
  readonly stop: boolean
}

/** Cells of the rateless sketch over the digests of all siblings, from place `from` on. */
export interface SketchFrame {
  readonly kind: 'sketch'
  readonly space: SpaceId
  readonly session: number
  /** The context it was made at: another one makes it worthless. */
  readonly context: Uint8Array
  readonly from: number
  readonly cells: Uint8Array
}

/** After a sketch: more of it, or the cells behind these digests (8 bytes each), with mine that you lack. */
export interface SketchAsk {
  readonly kind: 'sketch-ask'
  readonly space: SpaceId
  readonly session: number
  /** How many cells more; 0 for none. */
  readonly more: number
  readonly digests: Uint8Array
  /** Canonical snapshot form: what the other lacks. */
  readonly cells: Uint8Array
}

/** Please move budget rights to me. */
export interface RightsAsk {
  readonly kind: 'rights-ask'
  readonly space: SpaceId
  readonly key: string
  readonly to: OriginId
  readonly amount: number
}

/** What an agent shows of itself at a node, for a while. It is in no delta, no vector and on no disk. */
export interface PresenceStatement {
  readonly node: NodeId
  readonly agent: string
  /** Of two statements about one agent at one node the higher is the newer. */
  readonly version: number
  /** For how long it still holds, as its sender sees it: no two clocks need agree. */
  readonly leftMs: number
  /** A value in its canonical form; empty: the agent is not there any more. */
  readonly value: Uint8Array
}

/** Who is there in a space: what is new, or what somebody may not have heard. */
export interface PresenceFrame {
  readonly kind: 'presence'
  readonly space: SpaceId
  readonly statements: readonly PresenceStatement[]
}

export type Frame =
  | Hello
  | Refuse
  | Spaces
  | Ping
  | Ack
  | PingRequest
  | Nack
  | Members
  | Deltas
  | Notice
  | Pull
  | Prune
  | Greeting
  | VectorFrame
  | Stored
  | StoredAsk
  | Chains
  | TreeAsk
  | TreeOffer
  | TreeCells
  | TreeAck
  | SketchFrame
  | SketchAsk
  | RightsAsk
  | PresenceFrame
