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

// A restored directory is a new node with the state of that moment: it may run beside the original. To replace a node that is
// gone, budget rights included, give `restore` the `identity.key` of its directory.
await using restored = await openNode({ dir: again })
restored.space('stats').counter('runs').incr(1)
console.log('restored:', restored.space('stats').counter('runs').get().value)
console.log('same node:', restored.status().node === node.status().node)

// prints:
// rows in the file: true
// target_exists
// restored: 6
// same node: false
