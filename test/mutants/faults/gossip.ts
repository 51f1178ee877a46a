/** Faults in gossip: who is a member, who hears what, what is queued. */
import type { Fault } from '../fault.ts'

export const gossipFaults: readonly Fault[] = [
  {
    name: 'sim gossip: a member does not refute its death',
    file: 'src/gossip/membership.ts',
    find: "const behind = state === 'alive' ? incarnation > this.#incarnation : incarnation >= this.#incarnation",
    replace: "const behind = state === 'alive' && incarnation > this.#incarnation",
    sim: { seeds: 300 },
  },
  {
    name: 'sim gossip: who comes back from the dead is not believed',
    file: 'src/gossip/membership.ts',
    find: 'if (incarnation > known.incarnation) this.#lives(known, statement, from)',
    replace: 'if (incarnation > known.incarnation && lives(known)) this.#lives(known, statement, from)',
    sim: { seeds: 300 },
  },
]
