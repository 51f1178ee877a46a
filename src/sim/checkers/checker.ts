/** An independent eye on a run. Each is a file of its own, is told what happens, and says when a rule is broken. */
import type { MachineEvent } from '../../node/machine.ts'
import type { Errand } from '../../replica/errands.ts'
import type { Applied } from '../../replica/replica.ts'
import type { Space } from '../../replica/space.ts'
import type { SpaceChronicle } from '../chronicle.ts'
import type { Host, Life } from '../host.ts'
import type { Ledger } from '../ledger.ts'
import type { SimOptions } from '../options.ts'
import type { Rule } from '../rules.ts'

/** What a checker sees of the run. */
export interface Scene {
  readonly now: number
  readonly options: SimOptions
  readonly hosts: readonly Host[]
  readonly ledger: Ledger
  readonly spaceNames: readonly string[]
  /** The nodes that hold a space. */
  holders(space: string): readonly Host[]
  chronicle(space: Space): SpaceChronicle
  violate(rule: Rule, what: string): void
  count(what: string): void
  /** How often what happened. */
  readonly counts: ReadonlyMap<string, number>
  /** A directory was lost, restored or copied: promises that rest on one disk alone are off. */
  readonly rolledBack: boolean
  /** All faults have ended. */
  readonly healed: boolean
  /** A memory was cloned while it ran: a dot may mean two things, until it is settled which. */
  readonly cloned: boolean
  /** When a disk last lost what it had. */
  readonly lostAt: number
  /** Rows were lost in silence, maybe the last copies of what stood in them. */
  readonly damaged: boolean
}

export interface Checker {
  /** A node was opened; its spaces are as the disk had them. */
  opened?(host: Host, life: Life): void
  applied?(host: Host, life: Life, event: Applied, body: Uint8Array): void
  /** A batch is on the disk, and the machine knows. */
  stored?(host: Host): void
  event?(host: Host, event: MachineEvent): void
  /** A node told somebody of a conflict. */
  told?(host: Host, errand: Errand): void
  /** The node says that a peer broke the protocol. */
  accused?(host: Host, code: string, what: string): void
  /** The machine has handled an input. */
  stepped?(host: Host, life: Life): void
  /** A packet leaves a node. */
  sent?(host: Host, life: Life, bytes: Uint8Array): void
  /** All is healed, settled and said to be equal. */
  quiet?(): void
}
