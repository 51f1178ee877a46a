// Entries as JSON lines: out of one node, into another, as `skein export` and `skein import` do it.
import { exportLines, importLines, openNode } from 'skein'

await using from = await openNode({ memory: true, agent: 'agent-7' })
from.space('tasks').record('t-1').set({ status: 'todo' })
from.space('tasks').counter('seen').incr(3)
from.space('tasks').claim('t-1/claim').acquire(60_000)

const lines: string[] = []
for await (const line of exportLines(from)) lines.push(line)
console.log(lines.filter((line) => !line.includes('claim')).join('\n'))

await using to = await openNode({ memory: true, agent: 'importer' })
console.log(await importLines(to, lines)) // a copy of a claim would be no claim
console.log(to.space('tasks').counter('seen').get().value)

// prints:
// {"space":"tasks","key":"seen","type":"counter","value":3}
// {"space":"tasks","key":"t-1","type":"record","value":{"status":"todo"}}
// { lines: 3, entries: 2, leftOut: { claim: 1 } }
// 3
