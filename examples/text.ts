// A text is a Yjs document: an editor's updates go in, and what the editor lacks comes out.
import { openNode } from 'skein'
import * as Y from 'yjs'

await using node = await openNode({ memory: true })
const text = node.space('docs').text('readme')

// Agents write without Yjs.
text.insert(0, 'Skein keeps every thread.')
text.delete(0, 5)
text.insert(0, 'A skein')
console.log(text.get().value)

// An editor takes the whole document.
const editor = new Y.Doc()
Y.applyUpdate(editor, text.asUpdate())

// Both write at once. Updates of the editor go in as they are, in format V1.
editor.getText('text').insert(7, ' of yarn')
text.update(Y.encodeStateAsUpdate(editor))
text.insert(text.get().value.length, ' Always.')
console.log(text.get().value)

// And the editor gets only what it lacks: it says with a state vector what it has.
Y.applyUpdate(editor, text.asUpdate(Y.encodeStateVector(editor)))
console.log('equal:', editor.getText('text').toJSON() === text.get().value)

// prints:
// A skein keeps every thread.
// A skein of yarn keeps every thread. Always.
// equal: true
