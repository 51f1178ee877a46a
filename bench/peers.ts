/**
 * The peers, each as its own users would drive it when every write must reach other replicas at once: a replica needs
 * the bytes of each change, so the listener or call that makes them is part of the operation.
 */
import { change, from, getLastLocalChange, splice } from '@automerge/automerge'
import { LoroDoc } from 'loro-crdt'
import { Packr } from 'msgpackr'
import * as Y from 'yjs'
import type { FieldWrite } from './data.ts'
import type { Contender } from './measure.ts'

/** Bytes that came out: kept from being optimized away. */
let bytesOut = 0

export function yjsRuns(
  does: string,
  step: (doc: Y.Doc, at: number) => void,
  before: (doc: Y.Doc) => void = () => undefined,
): Contender {
  return {
    name: 'yjs',
    does,
    prepare(count) {
      const doc = new Y.Doc()
      before(doc)
      doc.on('update', (update: Uint8Array) => {
        bytesOut += update.length
      })
      return {
        run() {
          for (let at = 0; at < count; at++) step(doc, at)
        },
        end: () => doc.destroy(),
      }
    },
  }
}

export function yjsUpdates(writes: readonly FieldWrite[]): Uint8Array[] {
  const updates: Uint8Array[] = []
  const doc = new Y.Doc()
  doc.on('update', (update: Uint8Array) => updates.push(update))
  const map = doc.getMap('tasks')
  for (const write of writes) map.set(write.flatKey, write.value)
  return updates
}

/** An Automerge document of this shape; plain data as far as the types go. */
export interface AutomergeShape {
  [name: string]: unknown
  map: Record<string, string>
  list: string[]
  text: string
}

/** A part of the operations: it slows down as it grows, so that fewer favour it. */
export function automergeRuns(
  does: string,
  share: number,
  step: (doc: AutomergeShape, at: number) => void,
  before: (doc: AutomergeShape) => void = () => undefined,
): Contender {
  return {
    name: 'automerge',
    does,
    share,
    prepare(count) {
      let doc = from<AutomergeShape>({ map: {}, list: [], text: '' })
      doc = change(doc, before)
      return {
        run() {
          for (let at = 0; at < count; at++) {
            doc = change(doc, (draft) => step(draft, at))
            bytesOut += getLastLocalChange(doc)?.length ?? 0
          }
        },
      }
    },
  }
}

export function automergeInsert(doc: AutomergeShape, at: number, text: string): void {
  splice(doc, ['text'], at, 0, text)
}

export function loroRuns(
  does: string,
  step: (doc: LoroDoc, at: number) => void,
  before: (doc: LoroDoc) => void = () => undefined,
): Contender {
  return {
    name: 'loro',
    does,
    prepare(count) {
      const doc = new LoroDoc()
      before(doc)
      doc.commit()
      const unsubscribe = doc.subscribeLocalUpdates((update) => {
        bytesOut += update.length
      })
      return {
        run() {
          for (let at = 0; at < count; at++) {
            step(doc, at)
            doc.commit()
          }
        },
        end() {
          unsubscribe()
          doc.free()
        },
      }
    },
  }
}

/** The floor: nothing but the bytes of each write, made by the fastest MessagePack there is for Node. */
export function floorRuns(write: (at: number) => FieldWrite): Contender {
  const packr = new Packr()
  const origin = Buffer.alloc(16, 7)
  return {
    name: 'floor',
    does: 'msgpackr packs { key, field, value, dot } and keeps nothing',
    prepare: (count) => ({
      run() {
        for (let at = 0; at < count; at++) {
          const { key, field, value } = write(at)
          bytesOut += packr.pack({ key, field, value, dot: { origin, seq: at } }).length
        }
      },
    }),
  }
}
