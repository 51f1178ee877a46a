/** The demo: a network that breaks, and what becomes of the writes on both sides, in six scenes. */
import { join } from 'node:path'
import { SkeinError } from '../base/errors.ts'
import type { SkeinNode } from '../node/node.ts'
import type { Answer, Call } from './command.ts'
import { countText, timeText, valueText } from './screen.ts'
import { allLinked, inStep, names, patienceMs, perform } from './stage.ts'
import type { Name, Played, Scenery, Stage } from './stage.ts'

const claimMs = 60_000

export function demo(call: Call): Promise<Answer | undefined> {
  return perform(call, play)
}

interface Found extends Played {
  readonly equal: boolean
  readonly root: string
  readonly healedMs: number
  readonly values: Readonly<Record<string, unknown>>
}

async function play(stage: Stage, { nodes, cables, dir }: Scenery): Promise<Found> {
  const { oslo, lima, cairo } = nodes
  const at = (name: Name) => nodes[name].space('demo')

  await stage.scene('Three nodes start on this host. Each has a disk of its own, and they talk over TCP.')
  for (const name of names) {
    await stage.line(`${name.padEnd(6)} ${nodes[name].status().addresses.join(', ')}  ${join(dir, name)}`)
  }
  await allLinked(stage, nodes)

  await stage.scene('They work together: a write is made on one node, at once, and is soon on all of them.')
  await stage.write('oslo', 'task t-1: title = refund order 9, status = todo', () =>
    at('oslo').record('t-1').set({ title: 'refund order 9', status: 'todo' }),
  )
  await stage.write('oslo', 'budget tokens: grant 100', () => at('oslo').budget('tokens').grant(100))
  const withAllMs = await stage.took(() => inStep(stage, nodes))
  await stage.line(`on all three disks after ${timeText(withAllMs)}`)

  await stage.scene('Now the network breaks: oslo and lima still see each other, cairo sees nobody.')
  await cables.cut('cairo')
  await stage.until(() => cairo.peers.list().every(({ linked }) => !linked))
  await stage.line('Nobody stops working:')
  await stage.write('oslo', 'task t-1: status = doing', () => at('oslo').record('t-1').set({ status: 'doing' }))
  await stage.write('cairo', 'task t-1: priority = high', () => at('cairo').record('t-1').set({ priority: 'high' }))
  await stage.write('lima', 'counter runs: + 3', () => at('lima').counter('runs').incr(3))
  await stage.write('cairo', 'counter runs: + 2', () => at('cairo').counter('runs').incr(2))
  await stage.write('lima', 'plan = ship on Friday', () => at('lima').register('plan').set('ship on Friday'))
  await stage.write('cairo', 'plan = ship on Monday', () => at('cairo').register('plan').set('ship on Monday'))
  await stage.write('oslo', 'budget tokens: spend 30', () => at('oslo').budget('tokens').spend(30))
  await stage.write('cairo', 'budget tokens: spend 50', () => at('cairo').budget('tokens').spend(50))
  await stage.write('oslo', 'claim deploy', () => at('oslo').claim('deploy').acquire(claimMs))
  await stage.write('cairo', 'claim deploy', () => at('cairo').claim('deploy').acquire(claimMs))
  await inStep(stage, { oslo, lima })
  for (const name of names) {
    const [task, runs] = [at(name).record('t-1').get().value, at(name).counter('runs').get().value]
    await stage.line(`${name} sees: t-1 ${valueText(task)}, runs ${runs}`)
  }

  await stage.scene('The network is mended.')
  cables.mend()
  const healedMs = await stage.took(async () => {
    await allLinked(stage, nodes)
    await inStep(stage, nodes)
  })
  await stage.line(`after ${timeText(healedMs)} they have found each other, and told each other everything:`)
  for (const name of names) {
    const [task, runs] = [at(name).record('t-1').get().value, at(name).counter('runs').get().value]
    await stage.line(`${name} sees: t-1 ${valueText(task)}, runs ${runs}`)
  }

  await stage.scene('What became of the writes on both sides:')
  const { value: task } = at('oslo').record('t-1').get()
  const hasBoth = task?.['status'] === 'doing' && task['priority'] === 'high'
  await stage.finding(hasBoth, 't-1     the fields of both sides are in it; nothing was overwritten')
  const { value: runs } = at('oslo').counter('runs').get()
  await stage.finding(runs === 5, `runs    ${runs}: both sides counted`)
  const plan = at('oslo').register('plan').get()
  const kept = plan.concurrent.map(({ value, agent }) => `${valueText(value)} (${agent})`).join(', ')
  await stage.finding(kept !== '', `plan    "${valueText(plan.value)}" is shown; kept beside it, to look at: ${kept}`)
  const claim = at('oslo').claim('deploy').get()
  const { holder, fence } = claim.value
  const besides = claim.concurrent.map(({ agent }) => agent).join(', ')
  await stage.finding(
    besides !== '' && holder !== null,
    `deploy  two held it, who could not know of each other; all agree now on ${holder}, fence ${fence}, and see ${besides} too`,
  )
  const { available, granted } = at('oslo').budget('tokens').get().value
  await stage.finding(available === 70, `tokens  ${available} of ${granted} left: cairo had no rights to spend any`)
  await spendAgain(stage, cairo)
  const history = await at('lima').record('t-1').history()
  await stage.line(`lima knows who did it: ${history.map(({ agent }) => agent).join(', then ')} changed t-1`)

  await stage.scene('And the proof: equal roots at equal vectors mean equal content, to the last value.')
  await inStep(stage, nodes)
  const report = await oslo.verify({ timeoutMs: patienceMs })
  const [verdict] = report.spaces
  const root = verdict?.root ?? ''
  const equal = verdict?.equal === true && verdict.members.length === 2
  for (const name of names) {
    const here = nodes[name].status().spaces.find((space) => space.name === 'demo')
    await stage.line(`${name.padEnd(6)} ${countText(here?.entries ?? 0, 'entry', 'entries')}, root ${here?.root ?? ''}`)
  }
  await stage.finding(equal, 'equal')
  const values = {
    't-1': at('lima').record('t-1').get().value,
    runs: at('lima').counter('runs').get().value,
    plan: at('lima').register('plan').get().value,
    deploy: at('lima').claim('deploy').get().value,
    tokens: at('lima').budget('tokens').get().value,
  }
  return { well: stage.isWell, equal, root, healedMs: Math.round(healedMs), values }
}

/** A node that lacks rights asks for them by itself: some moments later it has them. */
async function spendAgain(stage: Stage, cairo: SkeinNode): Promise<void> {
  const tokens = cairo.space('demo').budget('tokens')
  let isSpent = false
  await stage.until(() => {
    try {
      tokens.spend(50)
      isSpent = true
    } catch (error) {
      if (!(error instanceof SkeinError) || error.code !== 'budget_exceeded') throw error
    }
    return isSpent
  })
  const { available } = tokens.get().value
  await stage.finding(available === 20, `tokens  cairo asks the others for rights, and spends 50: ${available} left`)
}
