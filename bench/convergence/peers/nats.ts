/** A key-value bucket of NATS JetStream on one server, and a watch of it in every process. */
import { join } from 'node:path'
import { packagesMissing, versions } from './packages.ts'
import { programVersion, running } from './program.ts'
import type { Address, Hub, HubPlace, OpenNode, Place, System } from '../system.ts'

const bucket = 'entries'
/** Its client gives up after ten attempts, 2 s apart: shorter than the partition of the bench. */
const reconnect = { maxReconnectAttempts: -1, reconnectTimeWait: 100, ignoreClusterUpdates: true }
/** After so long a read is asked again; the default is 5 s, and stands for writes. */
const readMs = 1000

async function connected({ host, port }: Address) {
  const { connect } = await import('@nats-io/transport-node')
  return connect({ servers: `${host}:${port}`, ...reconnect })
}

async function openHub({ listen, dir, variant }: HubPlace): Promise<Hub> {
  const { StorageType } = await import('@nats-io/jetstream')
  const { Kvm } = await import('@nats-io/kv')
  const args = ['-js', '-sd', dir, '-l', join(dir, 'log'), '-a', listen.host, '-p', String(listen.port)]
  const hub = await running('nats-server', args, listen)
  const connection = await connected(listen)
  const storage = variant === 'memory' ? StorageType.Memory : StorageType.File
  await new Kvm(connection).create(bucket, { history: 1, storage })
  await connection.close()
  return hub
}

/** A request under way when the connection breaks is lost: who only wants to know asks again. */
async function asked<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  const { TimeoutError } = await import('@nats-io/transport-node')
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error
    }
  }
}

async function openNode({ hub }: Place): Promise<OpenNode> {
  const { jetstream } = await import('@nats-io/jetstream')
  const { Kvm } = await import('@nats-io/kv')
  if (hub === undefined) throw new Error('the bench opened no hub')
  const connection = await connected(hub)
  const entries = await new Kvm(connection).open(bucket)
  const reader = await new Kvm(jetstream(connection, { timeout: readMs })).open(bucket)
  const watch = await entries.watch()
  let isConnected = true
  void (async () => {
    for await (const { type } of connection.status()) {
      if (type === 'disconnect') isConnected = false
      if (type === 'reconnect') isConnected = true
    }
  })()
  return {
    async write(key, value) {
      await entries.put(key, value)
    },
    read: (key) => asked(async () => (await reader.get(key))?.string()),
    count: () => asked(async () => (await reader.status()).values),
    onChange(listener) {
      void (async () => {
        for await (const entry of watch) listener(entry.key, entry.string())
      })()
    },
    ready: () => isConnected,
    close: () => connection.close(),
  }
}

const program = programVersion('nats-server')

export const system: System = {
  name: 'nats kv',
  kind: 'server',
  topology: 'hub',
  version: `nats-server ${program ?? 'absent'}, ${versions('@nats-io/kv')}`,
  says: 'One server with JetStream: a put into a key-value bucket for each entry, which every process watches.',
  variants: [
    { name: 'os', durability: 'os', says: 'a stream in files, synced every two minutes, as the server comes' },
    { name: 'memory', durability: 'memory', says: 'a stream in memory' },
  ],
  catchesUp: true,
  restarts: true,
  notComparable: [
    'It is one server: nobody can write while it is away or out of reach, and programs hold no state of their own.',
    'A read is a round trip; the other systems read in the process.',
    'A writer hears of its own writes too.',
    'The last write wins, unless a program asks for the revision it has seen.',
  ],
  available: () => (program === undefined ? 'nats-server is not installed' : packagesMissing()),
  openNode,
  openHub,
}
