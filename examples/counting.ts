// A counter adds up what every writer added. A flag says yes or no, and yes wins unless no asks to.
import { SkeinError, openNode } from 'skein'

await using node = await openNode({ memory: true })
const stats = node.space('stats')

const runs = stats.counter('runs')
runs.incr()
runs.incr(41)
runs.incr(-2)
console.log('runs:', runs.get().value)

// Whole numbers, exact up to 2^53 - 1. What would leave them is refused, and nothing has changed.
try {
  runs.incr(Number.MAX_SAFE_INTEGER)
} catch (error) {
  if (!(error instanceof SkeinError)) throw error
  console.log(error.code, '->', runs.get().value)
}

// `enable` wins over a concurrent plain `disable`. For a kill switch let the disabling win instead.
const paused = stats.flag('paused')
paused.enable()
console.log('paused:', paused.get().value)
paused.disable({ wins: 'disable' })
console.log('paused:', paused.get().value)

// prints:
// runs: 40
// counter_overflow -> 40
// paused: true
// paused: false
