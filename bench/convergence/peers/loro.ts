/**
 * Loro behind a plain relay of ours, since it comes without a network: each process sends its updates to a hub, which
 * hands them on as they are and keeps a document, from which it answers who comes. Both ends tell what they have when a
 * socket opens, and are sent the rest.
 */
import type { LoroDoc, LoroMap } from 'loro-crdt'
import type { WebSocket } from 'ws'
import { packagesMissing, versions } from './packages.ts'
import type { Hub, HubPlace, JsonDocument, OpenNode, Place, System, TextDocument } from '../system.ts'

/** The first byte of a message: what I have, as a version; an update; or the last of what you lacked. */
const [isVersion, isUpdate, isRest] = [0, 1, 2]
const reconnectMs = 200

function message(kind: number, bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(1 + bytes.length)
  whole[0] = kind
  whole.set(bytes, 1)
  return whole
}

/** Both ends of a socket: tells what it has, answers with what the other lacks. */
function follow(
  doc: LoroDoc,
  socket: WebSocket,
  decode: (bytes: Uint8Array) => ReturnType<LoroDoc['oplogVersion']>,
  took: (kind: number, whole: Uint8Array) => void,
): void {
  socket.on('message', (data: Buffer) => {
    const bytes = data.subarray(1)
    if (data[0] === isVersion) {
      socket.send(message(isRest, doc.export({ mode: 'update', from: decode(bytes) })))
    } else took(data[0] ?? isUpdate, data)
  })
}

async function openHub({ listen }: HubPlace): Promise<Hub> {
  const { LoroDoc, VersionVector } = await import('loro-crdt')
  const { hubOf, listening } = await import('./web-sockets.ts')
  const server = await listening(listen)
  const doc = new LoroDoc()
  server.on('connection', (socket) => {
    follow(
      doc,
      socket,
      (bytes) => VersionVector.decode(bytes),
      (_, whole) => {
        for (const other of server.clients) if (other !== socket && other.readyState === 1) other.send(whole)
        doc.import(whole.subarray(1))
      },
    )
    socket.send(message(isVersion, doc.oplogVersion().encode()))
  })
  return hubOf(server)
}

async function openNode({ hub }: Place): Promise<OpenNode> {
  const { LoroDoc, VersionVector } = await import('loro-crdt')
  const { WebSocket } = await import('ws')
  const { urlOf } = await import('./web-sockets.ts')
  const doc = new LoroDoc()
  let isReady = false
  let isClosed = false
  let socket: WebSocket | undefined
  const connect = (): void => {
    if (isClosed) return
    const next = new WebSocket(urlOf(hub))
    next.on('error', () => undefined)
    next.once('open', () => {
      socket = next
      next.send(message(isVersion, doc.oplogVersion().encode()))
    })
    follow(
      doc,
      next,
      (bytes) => VersionVector.decode(bytes),
      (kind, whole) => {
        doc.import(whole.subarray(1))
        if (kind === isRest) isReady = true
      },
    )
    next.once('close', () => {
      socket = undefined
      isReady = false
      setTimeout(connect, reconnectMs)
    })
  }
  connect()
  doc.subscribeLocalUpdates((update) => socket?.send(message(isUpdate, update)))
  return {
    ...(await state(doc)),
    ready: () => isReady,
    close() {
      isClosed = true
      socket?.terminate()
    },
  }
}

async function state(doc: LoroDoc): Promise<Omit<OpenNode, 'ready' | 'close'>> {
  const entries = doc.getMap('entries') as LoroMap<Record<string, string>>
  return {
    write(key, value) {
      entries.set(key, value)
      doc.commit()
    },
    read: (key) => entries.get(key),
    count: () => entries.size,
    onChange(listener) {
      entries.subscribe(({ by, events }) => {
        if (by === 'local') return
        for (const { diff } of events) {
          if (diff.type !== 'map') continue
          for (const [key, value] of Object.entries(diff.updated)) if (typeof value === 'string') listener(key, value)
        }
      })
    },
    text: textOf(doc),
    json: await jsonOf(doc),
  }
}

function textOf(doc: LoroDoc): TextDocument {
  const text = doc.getText('text')
  return {
    insert(at, inserted) {
      text.insert(at, inserted)
      doc.commit()
    },
    delete(at, length) {
      text.delete(at, length)
      doc.commit()
    },
    read: () => text.toString(),
    onChange(listener) {
      text.subscribe(({ by }) => {
        if (by !== 'local') listener()
      })
    },
  }
}

async function jsonOf(doc: LoroDoc): Promise<JsonDocument> {
  const { LoroMap } = await import('loro-crdt')
  const root = doc.getMap('json')
  return {
    set(path, value) {
      let map: LoroMap = root
      for (const name of path.slice(0, -1)) map = map.getOrCreateContainer(name, new LoroMap())
      map.set(path.at(-1) ?? '', value)
      doc.commit()
    },
    read: () => root.toJSON() as unknown,
    onChange(listener) {
      root.subscribe(({ by, events }) => {
        if (by === 'local') return
        for (const { path, diff } of events) {
          if (diff.type !== 'map') continue
          for (const [name, value] of Object.entries(diff.updated)) {
            // The first part of a path is the name of the root.
            if (typeof value === 'string' || typeof value === 'number')
              listener([...path.slice(1).map(String), name], value)
          }
        }
      })
    },
  }
}

export const system: System = {
  name: 'loro',
  kind: 'crdt',
  topology: 'hub',
  version: versions('loro-crdt', 'ws'),
  says: 'A Loro document in each process, a key of its map and a commit for each entry, through a plain WebSocket relay.',
  variants: [{ name: '', durability: 'memory', says: 'neither the replicas nor the relay keep anything on disk' }],
  catchesUp: true,
  restarts: true,
  notComparable: [
    'It is a hub: a message takes two hops, and the fleet stops with the relay.',
    'The relay is the least that works, written for this bench: no users, no rooms, no acknowledgements.',
    'Nothing is on disk, and a write is acknowledged before anybody else has it.',
    'It keeps all of history; concurrent values of a key are settled by a logical clock.',
  ],
  available: packagesMissing,
  openNode,
  openHub,
}
