// A budget cannot be overspent by crashes or partitions: a node spends only rights that it holds.
import { SkeinError, openNode } from 'skein'

await using node = await openNode({ memory: true })
const tokens = node.space('fleet').budget('tokens')

// Granted here, so this node holds the rights.
tokens.grant(1_000)
tokens.spend(300)

// A cost that is known only afterwards: set rights aside first, then settle for what it came to.
const { id } = tokens.reserve(500).result
console.log('while reserved:', show())
tokens.settle(id, 420)
console.log('when settled:', show())

// More than the rights is refused before anything happens.
try {
  tokens.spend(281)
} catch (error) {
  if (!(error instanceof SkeinError)) throw error
  console.log(error.code, error.details)
}

// A call that never took place: its reservation is given back. What is left can be revoked.
tokens.refund(tokens.reserve(100).result.id)
tokens.revoke(80)
console.log('at the end:', show(), 'revoked', tokens.get().value.revoked)

// Before real money moves, await `durable`: only then does the spending survive a power cut.
await tokens.spend(1).durable

function show(): string {
  const { granted, spent, held, available } = tokens.get().value
  return `granted ${granted}, spent ${spent}, held ${held}, available ${available}`
}

// prints:
// while reserved: granted 1000, spent 300, held 500, available 200
// when settled: granted 1000, spent 720, held 0, available 280
// budget_exceeded { available: 280, asked: 281 }
// at the end: granted 1000, spent 720, held 0, available 200 revoked 80
