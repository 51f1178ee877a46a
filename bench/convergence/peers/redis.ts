/** Redis as the one place where state is, and its pub/sub as the news of it: what many programs take instead. */
import { packagesMissing, versions } from './packages.ts'
import { programVersion, running } from './program.ts'
import type { Hub, HubPlace, OpenNode, Place, System } from '../system.ts'

const channel = 'changes'
const reconnectMs = 100

const persistence: Readonly<Record<string, readonly string[]>> = {
  memory: ['--save', '', '--appendonly', 'no'],
  disk: ['--save', '', '--appendonly', 'yes', '--appendfsync', 'always'],
}

function openHub({ listen, dir, variant }: HubPlace): Promise<Hub> {
  const place = ['--bind', listen.host, '--port', String(listen.port), '--dir', dir]
  return running('redis-server', [...place, ...(persistence[variant] ?? [])], listen)
}

async function openNode({ hub }: Place): Promise<OpenNode> {
  const { createClient } = await import('@redis/client')
  const client = createClient({ socket: { ...hub, reconnectStrategy: () => reconnectMs } })
  const follower = client.duplicate()
  // Both connect again by themselves; without a listener the first error would end the process.
  for (const one of [client, follower]) one.on('error', () => undefined)
  await Promise.all([client.connect(), follower.connect()])
  let changed: (key: string, value: string) => void = () => undefined
  await follower.subscribe(channel, (message) => {
    const at = message.indexOf(' ')
    changed(message.slice(0, at), message.slice(at + 1))
  })
  return {
    async write(key, value) {
      // Sent in one packet and answered in order: nobody hears of what cannot be read yet.
      await Promise.all([client.set(key, value), client.publish(channel, `${key} ${value}`)])
    },
    read: async (key) => (await client.get(key)) ?? undefined,
    count: () => client.dbSize(),
    onChange(listener) {
      changed = listener
    },
    ready: () => client.isReady && follower.isReady,
    close() {
      client.destroy()
      follower.destroy()
    },
  }
}

const program = programVersion('redis-server')

export const system: System = {
  name: 'redis',
  kind: 'server',
  topology: 'hub',
  version: `redis-server ${program ?? 'absent'}, ${versions('@redis/client')}`,
  says: 'One server: a SET for each entry and, in the same packet, a PUBLISH of it, to which every process is subscribed.',
  variants: [
    { name: 'memory', durability: 'memory', says: 'no snapshots, no log' },
    { name: 'disk', durability: 'disk', says: 'appendonly with appendfsync always: synced before it answers' },
  ],
  catchesUp: true,
  restarts: true,
  notComparable: [
    'It is one server: nobody can write while it is away or out of reach, and programs hold no state of their own.',
    'A read is a round trip; the other systems read in the process.',
    'What is published while a subscriber is cut off never reaches it; it finds the state at the server, not the news.',
    'The last write wins, whatever its writer had seen.',
  ],
  available: () => (program === undefined ? 'redis-server is not installed' : packagesMissing()),
  openNode,
  openHub,
}
