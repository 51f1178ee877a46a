// A schema types the handles and refuses local writes outside of it. Any Standard Schema library will do; here zod.
import { SkeinError, defineSpace, openNode } from 'skein'
import { z } from 'zod'

const tasks = defineSpace({
  schema: z.object({
    status: z.enum(['todo', 'doing', 'done']),
    owner: z.object({ name: z.string(), shift: z.number().int().optional() }).optional(),
  }),
})

await using node = await openNode({ memory: true })
const space = node.space('tasks', tasks)

// `set` takes some fields of the record, typed. What is checked is the record as the write would leave it.
space.record('t-1').set({ status: 'todo' })
space.record('t-1').set({ owner: { name: 'agent-7' } })
console.log(space.record('t-1').get().value?.owner?.name)

try {
  // A program without types, or a value from outside: the path is named and nothing has changed.
  const given: unknown = JSON.parse('{ "status": "nearly", "owner": { "shift": 1.5 } }')
  space.record('t-1').set(given as { status: 'todo' })
} catch (error) {
  if (!(error instanceof SkeinError)) throw error
  console.log(error.code, error.details['issues'])
}
console.log(space.record('t-1').get().value?.status)

// One schema for each type where a space holds more than records: the elements of a set, log or list, a register's value.
const mixed = defineSpace({ schema: { log: z.object({ did: z.string() }), register: z.number() } })
const audit = node.space('audit', mixed).log('today')
audit.append({ did: 'refund' })
console.log(audit.get().value[0]?.did)

// prints:
// agent-7
// schema_violation [
//   {
//     path: [ 'status' ],
//     message: 'Invalid option: expected one of "todo"|"doing"|"done"'
//   },
//   {
//     path: [ 'owner', 'shift' ],
//     message: 'Invalid input: expected int, received number'
//   }
// ]
// todo
// refund
