/**
 * Yjs and Automerge, loaded when the first document is touched: they cost a start 70 ms of a processor and a node 25 MB of
 * memory, and most fleets have no documents. Loading is synchronous, since reading and writing an entry is.
 *
 * It is the very module that an `import` gives, not the CommonJS build beside it: whoever embeds a node hands documents
 * over, and a class that is loaded twice is two classes.
 */
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type * as Automerge from '@automerge/automerge'
import type * as Yjs from 'yjs'

const load = createRequire(import.meta.url)

let loadedYjs: typeof Yjs | undefined
let loadedAutomerge: typeof Automerge | undefined

export function yjs(): typeof Yjs {
  return (loadedYjs ??= load(fileURLToPath(import.meta.resolve('yjs'))) as typeof Yjs)
}

export function automerge(): typeof Automerge {
  return (loadedAutomerge ??= load(fileURLToPath(import.meta.resolve('@automerge/automerge'))) as typeof Automerge)
}
