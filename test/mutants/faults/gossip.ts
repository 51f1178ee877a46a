/** Faults in gossip: who is a member, who hears what, what is queued. */
import type { Fault } from '../fault.ts'

const presence = ['src/gossip/presence']

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
  {
    name: 'presence: what others still tell of a dead node is believed',
    file: 'src/gossip/presence.ts',
    find: '    if (node !== from && !isAlive(this.#config.members.member(node))) return\n',
    replace: '',
    tests: presence,
  },
  {
    name: 'presence: an agent outlives the run of its node',
    file: 'src/gossip/presence.ts',
    find: 'before !== undefined && before !== input.incarnation',
    replace: "before === '' && before !== input.incarnation",
    tests: presence,
  },
  {
    name: 'presence: each step leaves in a frame of its own',
    file: 'src/gossip/presence.ts',
    find: '    if (nowMs < room.sentMs + sendEveryMs) return\n',
    replace: '',
    tests: presence,
  },
  {
    name: 'presence: who is withdrawn is forgotten, and brought back by who has not heard of it',
    file: 'src/gossip/presence.ts',
    find: 'value.length === 0 ? (known as Held).untilMs : nowMs + ttlMs',
    replace: 'value.length === 0 ? nowMs : nowMs + ttlMs',
    tests: presence,
  },
  {
    name: 'sim gossip: what a node says of its own agents is told once, and lost with its message',
    file: 'src/gossip/presence.ts',
    find: 'const all = [...held.values()]\n',
    replace: 'const all = [...held.values()].filter(({ node }) => node !== this.#config.self)\n',
    sim: { seeds: 10, from: 90 },
  },
]
