// Taking tasks and holding their claims: renewed while the work goes on, and the work is told when a claim is lost.
import { SkeinError, openNode } from 'skein'

await using node = await openNode({ memory: true, agent: 'agent-7' })
const tasks = node.space('tasks')
for (const key of ['t-1', 't-2', 't-3']) tasks.record(key).set({ status: 'todo' })
tasks.record('t-4').set({ status: 'done' })

// Two agents take what is free; nobody gets what another has, and they do not all begin at the first.
const taken = await Promise.all(
  ['agent-7', 'agent-8'].map((agent) => tasks.as({ agent }).claimNext('t-', { where: { status: 'todo' } })),
)
console.log('two different tasks:', new Set(taken.map((task) => task?.key)).size === 2)

const [mine] = taken
await mine?.claim.hold(async (signal, fence) => {
  // A real worker hands `signal` to whatever it waits for, and the fence to whatever it changes.
  tasks.record(mine.key).set({ status: 'done', fence })
  console.log('worked, and still held:', !signal.aborted)
})
console.log('released:', mine?.claim.get().value.holder)

// An operator takes a claim away: the work hears of it at once.
const held = tasks.claim('deploy').hold(async (signal) => {
  tasks.as({ agent: 'operator' }).claim('deploy').delete()
  await new Promise((resolve) => signal.addEventListener('abort', resolve))
  return 'nobody will see this'
})
await held.catch((error: unknown) => console.log('lost:', error instanceof SkeinError && error.code))

// What is left to do, by a field.
for await (const { key } of tasks.entries({ where: { status: 'done' } })) if (key === 't-4') console.log('done:', key)

// prints:
// two different tasks: true
// worked, and still held: true
// released: null
// lost: stale_fence
// done: t-4
