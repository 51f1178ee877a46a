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
}
