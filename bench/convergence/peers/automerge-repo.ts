/** automerge-repo: one document in a Repo of each process, through a Repo that serves WebSockets. */
import type { BinaryDocumentId, DocHandle, DocHandleChangePayload, DocumentId } from '@automerge/automerge-repo'
import { packagesMissing, versions } from './packages.ts'
import type { Hub, HubPlace, JsonDocument, OpenNode, Place, System, TextDocument } from '../system.ts'

/** Its own default is 5 s. */
const retryMs = 500

/** An immutable string is one value, as a register is; a plain one would be a text of characters, which costs twice. */
interface Shape {
  readonly entries: Record<string, { readonly val: string }>
  text: string
  readonly json: Record<string, unknown>
}

type Change = (edit: (doc: Shape) => void) => void
type Changed = (listener: (payload: DocHandleChangePayload<Shape>) => void) => void

/** Every process derives the same id from the name of the run. */
async function documentIdOf(run: string): Promise<DocumentId> {
  const { interpretAsDocumentId } = await import('@automerge/automerge-repo')
  const bytes = new TextEncoder().encode(run.padEnd(16, '-').slice(0, 16))
  return interpretAsDocumentId(bytes as BinaryDocumentId)
}

async function openHub({ listen, run }: HubPlace): Promise<Hub> {
  const { from, save } = await import('@automerge/automerge')
  const { Repo } = await import('@automerge/automerge-repo')
  const { WebSocketServerAdapter } = await import('@automerge/automerge-repo-network-websocket')
  const { hubOf, listening } = await import('./web-sockets.ts')
  const server = await listening(listen)
  const repo = new Repo({ network: [new WebSocketServerAdapter(server as never)] })
  const empty: Shape = { entries: {}, text: '', json: {} }
  repo.import(save(from({ ...empty })), { docId: await documentIdOf(run) })
  return hubOf(server)
}

async function openNode({ hub, run }: Place): Promise<OpenNode> {
  const { ImmutableString } = await import('@automerge/automerge')
  const { Repo } = await import('@automerge/automerge-repo')
  const { WebSocketClientAdapter } = await import('@automerge/automerge-repo-network-websocket')
  const { urlOf } = await import('./web-sockets.ts')
  const adapter = new WebSocketClientAdapter(urlOf(hub), retryMs)
  // It throws, past everybody, what is no ECONNREFUSED: a dial that is reset would end the process.
  adapter.onError = () => undefined
  const repo = new Repo({ network: [adapter] })
  const handle = await repo.find<Shape>(await documentIdOf(run))
  let count = 0
  // Its event says the same of every change, whoever made it, and comes within the call.
  let isOwn = false
  const change: Change = (edit) => {
    isOwn = true
    try {
      handle.change(edit)
    } finally {
      isOwn = false
    }
  }
  const changed: Changed = (listener) => {
    handle.on('change', (payload) => {
      if (!isOwn) listener(payload)
    })
  }
  return {
    write(key, value) {
      change(({ entries }) => {
        entries[key] = new ImmutableString(value)
      })
    },
    read: (key) => handle.doc().entries[key]?.val,
    count: () => count,
    onChange(listener) {
      count = Object.keys(handle.doc().entries).length
      handle.on('change', ({ patches, patchInfo: { before, after } }) => {
        for (const { path } of patches) {
          if (path[0] !== 'entries' || path.length !== 2) continue
          const key = String(path[1])
          if (before.entries[key] === undefined) count++
          const value = after.entries[key]?.val
          if (!isOwn && value !== undefined) listener(key, value)
        }
      })
    },
    ready: () => handle.isReady(),
    close() {
      adapter.disconnect()
    },
    text: await textOf(handle, change, changed),
    json: await jsonOf(handle, change, changed),
  }
}

async function textOf(handle: DocHandle<Shape>, change: Change, changed: Changed): Promise<TextDocument> {
  const { splice } = await import('@automerge/automerge')
  return {
    insert: (at, text) => change((doc) => splice(doc, ['text'], at, 0, text)),
    delete: (at, length) => change((doc) => splice(doc, ['text'], at, length)),
    read: () => handle.doc().text,
    onChange: (listener) =>
      changed(({ patches }) => {
        if (patches.some(({ path }) => path[0] === 'text')) listener()
      }),
  }
}

async function jsonOf(handle: DocHandle<Shape>, change: Change, changed: Changed): Promise<JsonDocument> {
  const { ImmutableString } = await import('@automerge/automerge')
  return {
    set: (path, value) =>
      change((doc) => {
        let map = doc.json
        for (const name of path.slice(0, -1)) {
          // Read again: what was assigned is the object, what is read is the document's.
          map[name] ??= {}
          map = map[name] as Record<string, unknown>
        }
        map[path.at(-1) ?? ''] = typeof value === 'string' ? new ImmutableString(value) : value
      }),
    read: () => handle.doc().json,
    onChange: (listener) =>
      changed(({ patches, patchInfo: { after } }) => {
        for (const { path } of patches) {
          if (path[0] !== 'json') continue
          const names = path.slice(1).map(String)
          const found = names.reduce<unknown>(
            (at, name) => (at as Record<string, unknown> | undefined)?.[name],
            after.json,
          )
          const value = found instanceof ImmutableString ? found.val : found
          if (typeof value === 'string' || typeof value === 'number') listener(names, value)
        }
      }),
  }
}

export const system: System = {
  name: 'automerge-repo',
  kind: 'crdt',
  topology: 'hub',
  version: versions('@automerge/automerge', '@automerge/automerge-repo', '@automerge/automerge-repo-network-websocket'),
  says: 'One Automerge document in each process, a key of its map for each entry, through a Repo that serves WebSockets.',
  variants: [{ name: '', durability: 'memory', says: 'no storage adapter: nothing is on disk' }],
  catchesUp: true,
  restarts: true,
  notComparable: [
    'It is a hub: a message takes two hops, and the fleet stops with the server.',
    'Each end sends at most every 100 ms for a document, which no option changes: under load its lag is that timer.',
    'Nothing is on disk, and a write is acknowledged before anybody else has it.',
    'It keeps all of history and the concurrent values of a key.',
    'A client that lost its server tries again after 0.5 s, where the default is 5 s.',
  ],
  available: packagesMissing,
  openNode,
  openHub,
}
