import type { Space } from '../replica/space.ts'
import type { NodeId, Run } from '../wire/frame.ts'

/** What whoever counts may hear beside events: on hot paths, so that it costs nothing where nobody listens. */
export interface Figures {
  /** Consecutive deltas of one origin left for a peer: pushed, pulled or in catch-up. */
  sent?(to: NodeId, space: Space, run: Run): void
  /** A delta came that was here already. */
  repeated?(sizeBytes: number): void
  /** A member answered a ping of this node. */
  probed?(node: NodeId, tookMs: number): void
  /** More waited for a peer than its queue holds: it was let go, and the peer catches up. */
  fellBehind?(node: NodeId): void
}
