/** OrbitDB: its indexed key-value database in every process, over libp2p and Helia. */
import { packagesMissing, versions } from './packages.ts'
import type { OpenNode, Place, System } from '../system.ts'

async function openNode(place: Place): Promise<OpenNode> {
  const { createHelia } = await import('helia')
  const { createOrbitDB, IPFSAccessController, KeyValueIndexed } = await import('@orbitdb/core')
  const { openHost } = await import('./libp2p-host.ts')
  const libp2p = await openHost(place, {})
  const ipfs = await createHelia({ libp2p })
  const orbitdb = await createOrbitDB({ ipfs, directory: place.dir })
  // All name the same database with the same rights, so all come to the same address.
  const db = await orbitdb.open(place.run, {
    Database: KeyValueIndexed(),
    AccessController: IPFSAccessController({ write: ['*'] }),
  })
  // An event tells of the newest entry alone; those that came under it are found by its links.
  const known = new Set<string>()
  const keys = new Set<string>()
  let changed: (key: string, value: string) => void = () => undefined
  const follow = async (hashes: readonly string[]): Promise<void> => {
    for (const hash of hashes) {
      if (known.has(hash)) continue
      known.add(hash)
      const { identity, payload, next } = await db.log.get(hash)
      keys.add(payload.key)
      if (identity !== orbitdb.identity.hash) changed(payload.key, payload.value)
      await follow(next)
    }
  }
  db.events.on('update', ({ hash }) => void follow([hash]).catch(() => undefined))
  db.events.on('error', () => undefined)
  return {
    async write(key, value) {
      await db.put(key, value)
    },
    read: (key) => db.get(key),
    count: () => keys.size,
    onChange(listener) {
      changed = listener
    },
    ready: () => db.peers.size === place.nodes - 1,
    async close() {
      await orbitdb.stop()
      await ipfs.stop()
    },
  }
}

export const system: System = {
  name: 'orbitdb',
  kind: 'crdt',
  topology: 'mesh',
  version: versions('@orbitdb/core', 'helia', '@libp2p/gossipsub'),
  says: 'Its indexed key-value database in each process: a signed entry of a log for each write, the newest told by GossipSub.',
  variants: [{ name: '', durability: 'memory', says: 'entries in memory, as Helia comes; heads and index in LevelDB' }],
  catchesUp: true,
  restarts: true,
  notComparable: [
    'Every entry is signed, and checked by who receives it, against everybody who may write; here all may.',
    'It keeps the whole log for ever, and a node fetches missed entries one after the other.',
    'Nothing that was written survives the process, as Helia is set up by default.',
  ],
  available: packagesMissing,
  openNode,
}
