/** Skein embedded in the process that writes: registers in one space, read by a watcher. */
import { versionOf } from '../../machine.ts'
import { openNode } from '../../../src/index.ts'
import type { SpaceHandle } from '../../../src/index.ts'
import type { Address, Durability, OpenNode, Place, System } from '../system.ts'

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
  ],
  openNode: open,
}
