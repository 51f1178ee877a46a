/** What the two servers of Yjs documents share: a Y.Map with a value for each key, a Y.Text, and nested Y.Maps as JSON. */
import * as Y from 'yjs'
import type { JsonDocument, OpenNode, TextDocument } from '../system.ts'

type Leaf = string | number

type State = Pick<OpenNode, 'write' | 'read' | 'count' | 'onChange'> & {
  readonly text: TextDocument
  readonly json: JsonDocument
}

export function yjsNode(doc: Y.Doc): State {
  const entries = doc.getMap<string>('entries')
  // `Y.Map.size` walks the whole map, and the bench asks often.
  let count = 0
  return {
    write(key, value) {
      if (!entries.has(key)) count++
      entries.set(key, value)
    },
    read: (key) => entries.get(key),
    count: () => count,
    onChange(listener) {
      count = entries.size
      entries.observe((event, { local }) => {
        if (local) return
        for (const [key, { action }] of event.keys) {
          if (action === 'add') count++
          const value = entries.get(key)
          if (value !== undefined) listener(key, value)
        }
      })
    },
    text: textOf(doc),
    json: jsonOf(doc),
  }
}

function textOf(doc: Y.Doc): TextDocument {
  const text = doc.getText('text')
  return {
    insert: (at, inserted) => text.insert(at, inserted),
    delete: (at, length) => text.delete(at, length),
    read: () => text.toJSON(),
    onChange(listener) {
      text.observe((_, { local }) => {
        if (!local) listener()
      })
    },
  }
}

function jsonOf(doc: Y.Doc): JsonDocument {
  const root = doc.getMap('json')
  return {
    set(path, value) {
      doc.transact(() => {
        let map = root
        for (const name of path.slice(0, -1)) {
          let child = map.get(name)
          if (!(child instanceof Y.Map)) map.set(name, (child = new Y.Map()))
          map = child as Y.Map<unknown>
        }
        map.set(path.at(-1) ?? '', value)
      })
    },
    read: () => root.toJSON(),
    onChange(listener) {
      root.observeDeep((events, { local }) => {
        if (local) return
        for (const { path, target, keys } of events) {
          if (!(target instanceof Y.Map)) continue
          for (const name of keys.keys()) leaves([...path.map(String), name], target.get(name), listener)
        }
      })
    },
  }
}

/** A map that is new is told of once, with all that is in it by then. */
function leaves(path: readonly string[], value: unknown, told: (path: readonly string[], value: Leaf) => void): void {
  if (value instanceof Y.Map) for (const [name, child] of value) leaves([...path, name], child, told)
  else if (typeof value === 'string' || typeof value === 'number') told(path, value)
}
