/**
 * The demo: a small fleet on this host, played in five scenes. What it tells is read from the nodes, never assumed: were one
 * of them to come to another end, the words would say so, and the exit code too.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { SkeinError } from '../base/errors.ts'
import type { SkeinNode } from '../node/node.ts'
import { openNode } from '../open.ts'
import { openWsTransport } from '../transport/ws.ts'
import { Cables } from './cables.ts'
import { Refused } from './command.ts'
import type { Answer, Call } from './command.ts'
import { program } from './program.ts'
import { countText, oneLine, timeText, valueText } from './screen.ts'

/** Time to read a line, and a scene. A guess. */
const lineMs = 700
const sceneMs = 2_500
/** How long a scene may take before it is given up. A guess: far more than a slow host needs. */
const patienceMs = 60_000
const lookAgainMs = 20
const claimMs = 60_000

/** Who is where: a node, and the agent that works through it. */
const cast = { oslo: 'ada', lima: 'bob', cairo: 'cyd' } as const
type Name = keyof typeof cast
type Nodes = Readonly<Record<Name, SkeinNode>>
const names = Object.keys(cast) as Name[]

export async function demo(call: Call): Promise<Answer | undefined> {
  const { stop } = call
  const stage = new Stage(call)
  const dir = await mkdtemp(join(tmpdir(), 'skein-demo-'))
  const cables = new Cables()
  const open = new Map<Name, SkeinNode>()
  try {
    const first = await openOn(dir, 'oslo', cables, [])
    open.set('oslo', first)
    for (const name of ['lima', 'cairo'] as const) {
      open.set(name, await openOn(dir, name, cables, first.status().addresses))
    }
    const found = await play(stage, Object.fromEntries(open) as Nodes, cables, dir)
    const text = found.well
      ? `All of it is gone now. For a node that stays: ${program} up`
      : 'It did not end as it must. Please report it, with what stands above.'
    return { data: found, text, yes: found.well }
  } catch (error) {
    if (!stop.aborted) throw error
    return { data: { stopped: true }, text: 'Stopped; all of it is gone.', yes: false }
  } finally {
    await Promise.all([...open.values()].map((node) => node.close()))
    await cables[Symbol.asyncDispose]()
    await rm(dir, { recursive: true, force: true })
  }
}

function openOn(dir: string, name: Name, cables: Cables, joined: readonly string[]): Promise<SkeinNode> {
  const transport = cables.lay(name, openWsTransport({ listen: ['ws://127.0.0.1:0'] }))
  return openNode({ dir: join(dir, name), agent: cast[name], transports: [transport], join: joined })
}

interface Found {
  /** All that was promised came true. */
  readonly well: boolean
  readonly equal: boolean
  readonly root: string
  readonly healedMs: number
  readonly values: Readonly<Record<string, unknown>>
}

async function play(stage: Stage, nodes: Nodes, cables: Cables, dir: string): Promise<Found> {
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

async function allLinked(stage: Stage, nodes: Nodes): Promise<void> {
  const others = names.length - 1
  await stage.until(() =>
    Object.values(nodes).every(
      (node) => node.peers.list().filter(({ linked, state }) => linked && state === 'alive').length === others,
    ),
  )
}

/** What is on one of them is on the disks of all of them. */
async function inStep(stage: Stage, nodes: Partial<Nodes>): Promise<void> {
  const all = Object.values(nodes)
  const signal = stage.stop
  for (const node of all) await node.synced({ peers: all.length - 1, timeoutMs: patienceMs, signal })
}

/** What is said, at a pace that can be read; nothing of it where the answer is for machines. */
class Stage {
  readonly stop: AbortSignal
  isWell: boolean = true
  readonly #call: Call
  readonly #isSlow: boolean
  #scenes = 0

  constructor(call: Call) {
    this.#call = call
    this.stop = call.stop
    this.#isSlow = !call.json && !call.has('fast') && call.screen.isTerminal
  }

  async scene(text: string): Promise<void> {
    const { screen } = this.#call
    if (this.#scenes > 0) await this.#pause(sceneMs)
    this.#scenes++
    if (!this.#call.json) screen.line(`${this.#scenes === 1 ? '' : '\n'}${this.#scenes}. ${text}`)
  }

  async line(text: string): Promise<void> {
    this.stop.throwIfAborted()
    if (!this.#call.json) this.#call.screen.line(`   ${oneLine(text)}`)
    await this.#pause(lineMs)
  }

  /** A promise, and whether it came true. */
  async finding(isTrue: boolean, text: string): Promise<void> {
    this.isWell &&= isTrue
    await this.line(isTrue ? text : `NOT AS IT MUST BE: ${text}`)
  }

  /** Somebody writes; what is refused is part of the play. */
  async write(name: Name, what: string, make: () => { readonly durable: Promise<unknown> }): Promise<void> {
    const who = `${cast[name]} at ${name}`.padEnd(13)
    try {
      await make().durable
      await this.line(`${who} ${what}`)
    } catch (error) {
      if (!(error instanceof SkeinError)) throw error
      await this.line(`${who} ${what}  refused: ${error.message}`)
    }
  }

  async took(work: () => Promise<void>): Promise<number> {
    const startedMs = performance.now()
    await work()
    return performance.now() - startedMs
  }

  async until(isSo: () => boolean): Promise<void> {
    const endMs = performance.now() + patienceMs
    while (!isSo()) {
      this.stop.throwIfAborted()
      if (performance.now() > endMs) {
        throw new Refused('timeout', `not so within ${patienceMs / 1000} s`, 'Is this host very busy? Try again.')
      }
      await sleep(lookAgainMs)
    }
  }

  async #pause(ms: number): Promise<void> {
    if (this.#isSlow) await sleep(ms, undefined, { signal: this.stop })
  }
}
