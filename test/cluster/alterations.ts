/** Changes of the source that a node can be started with: a later version of it, and faults that the checks must find. */
export interface Edit {
  readonly file: string
  readonly from: string
  readonly to: string
}

export interface Alteration {
  readonly says: string
  readonly edits: readonly Edit[]
}

export const alterations: Readonly<Record<string, Alteration>> = {
  'later-version': {
    says: 'speaks a later minor version: it says so, and every packet has a frame more that nobody knows yet',
    edits: [
      { file: 'src/wire/member-frames.ts', from: 'major: 1, minor: 0 }', to: 'major: 1, minor: 1 }' },
      {
        file: 'src/node/links.ts',
        from: "this.outputs.push({ kind: 'send', link, bytes })",
        to: "this.outputs.push({ kind: 'send', link, bytes: laterPacket(bytes) })",
      },
      {
        file: 'src/node/links.ts',
        from: "import { encodePackets, protocol } from '../wire/codec.ts'",
        to: "import { encodePackets, protocol } from '../wire/codec.ts'\nimport { laterPacket } from '../sim/packets.ts'",
      },
    ],
  },
  'early-ack': {
    says: 'acknowledges before the store has it, and the store takes its time',
    edits: [
      {
        file: 'src/node/commits.ts',
        from: 'if (batch <= this.#stored) return Promise.resolve()',
        to: 'if (batch >= 0) { this.kick(); return Promise.resolve() }',
      },
      {
        file: 'src/node/commits.ts',
        from: '        await this.#store.write(batch, durability)\n',
        to: '        await new Promise((resolve) => setTimeout(resolve, 1500))\n        await this.#store.write(batch, durability)\n',
      },
    ],
  },
  'lost-delta': {
    says: 'now and then applies a delta of another node as if it said nothing',
    edits: [
      {
        file: 'src/replica/space.ts',
        from: 'const writes = fault === undefined ? delta.writes : none',
        to: 'const writes = fault === undefined && (own || seq % 20 !== 7) ? delta.writes : none',
      },
    ],
  },
  'stale-read': {
    says: 'answers a read with a token without waiting for what it names',
    edits: [
      {
        file: 'src/node/http/service.ts',
        from: 'if (vector !== undefined && dots.every((dot) => covers(vector, dot))) return',
        to: 'if (vector !== undefined) return',
      },
    ],
  },
  'same-fence': {
    says: 'gives a new holder the fence of the one before',
    edits: [{ file: 'src/crdt/types/claim.ts', from: 'held.fence : held.fence + 1', to: 'held.fence : held.fence' }],
  },
  'free-spending': {
    says: 'spends rights that it does not have',
    edits: [
      {
        file: 'src/crdt/types/budget.ts',
        from: 'desk.need(amount)\n          desk.account = { ...desk.account, spent:',
        to: 'desk.account = { ...desk.account, spent:',
      },
    ],
  },
}
