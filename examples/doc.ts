// A doc is an Automerge document: nested JSON in which changes from several clients merge.
import * as Automerge from '@automerge/automerge'
import { openNode } from 'skein'

await using node = await openNode({ memory: true })
const plan = node.space('docs').doc('plan')

// Agents write paths without Automerge.
plan.set(['name'], 'Launch')
plan.set(['steps'], [{ done: true, name: 'write' }])
console.log(plan.get().value)

// A client takes a document of its own and changes it.
const before = plan.asDoc() as Automerge.Doc<{ name: string; steps: { done: boolean; name: string }[] }>
const after = Automerge.change(before, (draft) => {
  draft.steps.push({ done: false, name: 'review' })
})

// Meanwhile an agent works elsewhere in the document; then the client's change goes in as it is.
plan.set(['steps', 0, 'done'], false)
for (const change of Automerge.getChanges(before, after)) plan.change(change)
plan.unset(['name'])
console.log(plan.get().value)

// prints:
// { name: 'Launch', steps: [ { done: true, name: 'write' } ] }
// {
//   steps: [ { done: false, name: 'write' }, { done: false, name: 'review' } ]
// }
