/** Skein embedded in the process that writes: registers in one space, read by a watcher. */
import { versionOf } from '../../machine.ts'
import { openNode } from '../../../src/index.ts'
import type { SpaceHandle } from '../../../src/index.ts'
import type { Address, Durability, JsonDocument, OpenNode, Place, System, TextDocument } from '../system.ts'

async function follow(space: SpaceHandle, changed: (key: string, value: string) => void): Promise<void> {
  const read = (key: string): void => {
    const { value } = space.register<string>(key).get()
    if (value !== undefined) changed(key, value)
  }
  for (let since: string | undefined = ''; since !== undefined;) {
    const from: string = since
    since = undefined
    for await (const event of space.watch(from === '' ? {} : { since: from })) {
      if (event.kind === 'change') {
        if (!event.local) read(event.key)
        continue
      }
      // What was skipped comes again after `slow`; after the others the entries themselves are read once.
      since = event.token
      if (event.cause !== 'slow') for await (const { key } of space.entries()) read(key)
      break
    }
  }
}

/** Calls for each change of one entry by others. */
async function followEntry(space: SpaceHandle, prefix: string, changed: () => void): Promise<void> {
  for await (const event of space.watch({ prefix })) if (event.kind === 'gap' || !event.local) changed()
}

function textOf(space: SpaceHandle): TextDocument {
  const text = space.text('a-text')
  return {
    insert: (at, inserted) => void text.insert(at, inserted),
    delete: (at, count) => void text.delete(at, count),
    read: () => text.get().value,
    onChange: (listener) => void followEntry(space, 'a-text', listener),
  }
}

type Tree = { readonly [name: string]: Tree | string | number }

/** A record: its cells are its field paths, so that fields merge one by one. */
function jsonOf(space: SpaceHandle): JsonDocument {
  const record = space.record<Tree>('a-record')
  return {
    set(path, value) {
      record.set(path.reduceRight<Tree | string | number>((inner, name) => ({ [name]: inner }), value) as Tree)
    },
    read: () => record.get().value,
    onChange(listener) {
      const shown = new Map<string, string | number>()
      const told = (path: readonly string[], tree: Tree | string | number): void => {
        if (typeof tree === 'object') {
          for (const [name, child] of Object.entries(tree)) told([...path, name], child)
          return
        }
        const name = path.join('\0')
        if (shown.get(name) === tree) return
        shown.set(name, tree)
        listener(path, tree)
      }
      void followEntry(space, 'a-record', () => told([], record.get().value ?? {}))
    },
  }
}

/** Plain WebSockets, or the same links over libp2p. */
function addressOf({ host, port }: Address, isLibp2p: boolean): string {
  return isLibp2p ? `/ip4/${host}/tcp/${port}` : `ws://${host}:${port}`
}

async function open({ index, nodes, variant, dir, listen, advertise, members }: Place): Promise<OpenNode> {
  const isLibp2p = variant === 'libp2p'
  const durability = isLibp2p ? 'os' : (variant as Durability)
  const node = await openNode({
    ...(durability === 'memory' ? { memory: true as const } : { dir, durability }),
    listen: addressOf(listen, isLibp2p),
    advertise: addressOf(advertise, isLibp2p),
    join: members.filter((_, other) => other !== index).map((member) => addressOf(member, isLibp2p)),
    agent: 'bench',
  })
  const space = node.space('bench')
  return {
    write(key, value) {
      const { durable } = space.register(key).set(value)
      return durability === 'memory' ? undefined : durable
    },
    read: (key) => space.register<string>(key).get().value,
    count: () => node.status().spaces.find(({ name }) => name === 'bench')?.entries ?? 0,
    onChange: (listener) => void follow(space, listener),
    ready: () => node.peers.list().filter(({ linked }) => linked).length === nodes - 1,
    close: () => node.close(),
    text: textOf(space),
    json: jsonOf(space),
  }
}

export const system: System = {
  name: 'skein',
  kind: 'skein',
  topology: 'mesh',
  version: `skein ${versionOf('skein')}`,
  says: 'A node embedded in each process, replicating over WebSockets; a register for each key, read by a watcher.',
  variants: [
    { name: 'os', durability: 'os', says: 'a write is acknowledged when it survives the end of the process' },
    { name: 'disk', durability: 'disk', says: 'a write is acknowledged when it survives the loss of power' },
    { name: 'memory', durability: 'memory', says: 'nothing on disk, as the replicas that it is compared with' },
    { name: 'libp2p', durability: 'os', says: 'as os, its links over libp2p (tcp, noise, yamux)' },
  ],
  catchesUp: true,
  restarts: true,
  notComparable: [
    'It keeps who wrote what and when, concurrent values, a hash chain and a Merkle tree, which the others do not.',
    'Its text is a Yjs document kept as cells; its JSON document is a record, whose fields merge one by one and whose arrays are atomic.',
  ],
  openNode: open,
}
