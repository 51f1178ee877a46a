// A backup is one file, taken while the node writes. Restoring makes a new directory from it.
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SkeinError, backup, openNode, restore } from 'skein'

await using temporary = await mkdtempDisposable(join(tmpdir(), 'skein-'))
const file = join(temporary.path, 'monday.skein')

await using node = await openNode({ dir: join(temporary.path, 'data') })
const runs = node.space('stats').counter('runs')
runs.incr(5)
const { rows } = await backup(node, file) // everything written before the call is inside
runs.incr(100) // and this is not
console.log('rows in the file:', rows > 0)

// The whole file is checked first. The target must not exist: nothing is ever overwritten.
const again = join(temporary.path, 'restored')
await restore(file, again)
try {
  await restore(file, again)
} catch (error) {
  console.log(error instanceof SkeinError && error.code)
}

// A restored directory is the same node at an earlier moment. It writes as a new origin, as after every open, so that
// both may write without ever giving one name to two writes. Run one of the two: it is still one node.
await using restored = await openNode({ dir: again })
restored.space('stats').counter('runs').incr(1)
console.log('restored:', restored.space('stats').counter('runs').get().value)
console.log('same node:', restored.status().node === node.status().node)
console.log('same origin:', restored.status().origin === node.status().origin)

// prints:
// rows in the file: true
// target_exists
// restored: 6
// same node: true
// same origin: false
