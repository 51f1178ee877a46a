/**
 * The demo of conflicts: two agents on both sides of a broken network refund one order. What merging cannot settle is raised
 * once, shown with all that it takes to decide, decided by a person, and on record.
 */
import type { Conflict } from '../merge/evidence.ts'
import type { AuditLine } from '../index.ts'
import { defineSpace } from '../node/define-space.ts'
import type { SkeinNode } from '../node/node.ts'
import type { Answer, Call } from './command.ts'
import { short, viewOf } from './conflict-screen.ts'
import { countText, timeText } from './screen.ts'
import { allLinked, inStep, names, perform } from './stage.ts'
import type { Played, Scenery, Stage } from './stage.ts'

/** Who is on duty. */
const person = 'eve'
const orders = defineSpace({
  rules: [{ rule: 'effect', name: 'one-receipt', prefix: 'refund-', receipt: 'receipt', decides: 'person' }],
  people: [person],
})

export function demoConflicts(call: Call): Promise<Answer | undefined> {
  return perform(call, play)
}

interface Found extends Played {
  readonly id: string
  readonly raisedMs: number
  readonly conflict: Conflict | undefined
  /** What the node of the decision has on record. */
  readonly audit: readonly AuditLine[]
}

async function play(stage: Stage, { nodes, cables }: Scenery): Promise<Found> {
  const { oslo, lima, cairo } = nodes
  const all = Object.values(nodes)
  const refund = (node: SkeinNode, reason: string) => node.space('orders').as({ reason }).record('refund-9')
  const raised = new Map(all.map((node) => [node, 0]))
  for (const node of all) void count(node, raised)

  await stage.scene(
    'Three nodes on this host. A rule of the space `orders`: a refund has one receipt, and a person decides.',
  )
  oslo.space('orders', orders)
  await allLinked(stage, nodes)
  await stage.write('oslo', 'refund-9: order = 9, amount = 30, status = asked', () =>
    refund(oslo, 'the box was broken').set({ order: 9, amount: 30, status: 'asked' }),
  )
  await inStep(stage, nodes)
  await stage.line('on all three disks')

  await stage.scene('Now the network breaks: oslo and lima still see each other, cairo sees nobody.')
  await cables.cut('cairo')
  await stage.until(() => cairo.peers.list().every(({ linked }) => !linked))
  await stage.line(
    'On both sides an agent sees a refund that is asked for, has the bank pay it, and keeps the receipt:',
  )
  await stage.write('oslo', 'refund-9: status = paid, receipt = re_51', () =>
    refund(oslo, 'customer called').set({ status: 'paid', receipt: 're_51' }),
  )
  await stage.write('cairo', 'refund-9: status = paid, receipt = re_77', () =>
    refund(cairo, 'ticket 4711').set({ status: 'paid', receipt: 're_77' }),
  )
  await inStep(stage, { oslo, lima })
  await stage.line('Each did right by what it saw. The customer has 60 now, and nobody knows.')

  await stage.scene('The network is mended.')
  cables.mend()
  const raisedMs = await stage.took(async () => {
    await allLinked(stage, nodes)
    await stage.until(() => [...raised.values()].every((times) => times > 0))
    await inStep(stage, nodes)
  })
  const found = await Promise.all(all.map((node) => Array.fromAsync(node.conflicts.list({ space: 'orders' }))))
  const id = found[0]?.[0]?.id ?? ''
  const isOne = found.every((conflicts) => conflicts.length === 1 && conflicts[0]?.id === id)
  const isOnce = [...raised.values()].every((times) => times === 1)
  await stage.line(`after ${timeText(raisedMs)} they have found each other, and what merging cannot settle:`)
  await stage.finding(isOne && isOnce, `one conflict, raised once, under one id on all three nodes: ${short(id)}`)

  await stage.scene(
    `${person} is on duty. This is what \`skein conflicts show ${short(id)}\` tells her, on any of the nodes:`,
  )
  const history = await lima.conflicts.history(id)
  const seen = lima.conflicts.get(id)
  await stage.picture((screen, columns) =>
    seen === undefined ? [] : viewOf(screen, { ...seen, history }, Date.now(), columns),
  )
  await stage.finding(
    seen?.branches.length === 2 && seen.duplicateRisk === 'high',
    'both sides are there, and the risk is named',
  )

  await stage.scene('Until it is decided nobody goes on with it; and it is decided once, by somebody who may.')
  await stage.write('cairo', 'refund-9: status = closed', () => refund(cairo, 'done').set({ status: 'closed' }))
  const revision = seen?.revision ?? ''
  await stage.write('cairo', 'keep both', () =>
    cairo.conflicts.resolve(id, { revision, choice: { kind: 'keep-both' } }),
  )
  const action = 'take re_77 back'
  const reason = 'the bank shows both payments'
  const receipt = lima.conflicts.resolve(id, {
    revision,
    choice: { kind: 'compensate', action },
    agent: person,
    reason,
  })
  await receipt.durable
  await stage.line(`${`${person} at lima`.padEnd(13)} ${action}, since ${reason}`)
  await stage.until(() => all.every((node) => node.conflicts.get(id)?.state === 'settled'))
  await inStep(stage, nodes)
  const decisions = all.map((node) => node.conflicts.get(id)?.decisions ?? [])
  const isDecided = decisions.every(([one, another]) => one?.agent === person && another === undefined)
  await stage.finding(isDecided, 'settled on all three nodes, and it stays so unless a branch comes that nobody knew')

  await stage.scene('What lima has on record of it, each line with the hash of the one before (`skein log --audit`):')
  const audit = await Array.fromAsync(lima.conflicts.audit({ id }))
  for (const { number, what, agent, hash, reason: why } of audit) {
    const words = `${String(number).padStart(3)}  ${what.padEnd(9)} ${agent}${why === undefined ? '' : `: ${why}`}`
    await stage.line(`${words.padEnd(56)} ${hash.slice(0, 12)}`)
  }
  const { isIntact, lines } = await lima.conflicts.verifyAudit()
  const isThere = audit.some(({ what, agent }) => what === 'settled' && agent === person)
  await stage.finding(isIntact && isThere, `${countText(lines, 'line')}, none changed, left out or put in`)
  const equal = (await oslo.verify()).spaces.every((space) => space.equal && space.members.length === names.length - 1)
  await stage.finding(equal, 'and all three nodes are equal, proven by their roots')
  return { well: stage.isWell, id, raisedMs: Math.round(raisedMs), conflict: lima.conflicts.get(id), audit }
}

/** How often a node is told that something is raised. */
async function count(node: SkeinNode, raised: Map<SkeinNode, number>): Promise<void> {
  for await (const event of node.conflicts.watch()) {
    if (event.change === 'opened') raised.set(node, (raised.get(node) ?? 0) + 1)
  }
}
