/**
 * npm run test:cluster: real nodes, a network that we hold in our hands, and checkers that know nothing of the product. Two
 * kinds of runs take turns until the time is over: the story, and campaigns of random faults. Exit 1 with any finding, which
 * comes with its seed, its faults and the few operations that show it; the directories with histories and logs are kept.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { alterations } from './alterations.ts'
import { campaign } from './campaign.ts'
import { checks } from './checker.ts'
import type { Anomaly, Operation } from './checker.ts'
import type { Spoken, Way } from './cluster.ts'
import { canTellDiallers } from './dialler.ts'
import { whyNoNamespaces } from './namespaces.ts'
import { story } from './story.ts'

const plants = Object.keys(alterations).filter((name) => name !== 'later-version')

const help = `npm run test:cluster -- [options]

  --minutes M   how long, about (2)
  --only KIND   story or campaign
  --nodes N     nodes of a fleet (the story: 3, and 8 from 5 minutes on; campaigns: 3 and 5 in turn)
  --seed S      of the first run; those after it count on. Moments still differ from run to run
  --way WAY     the network: proxies or namespaces (campaigns: every third in namespaces, where they can be made)
  --transport T what nodes speak: ws or libp2p (every fourth campaign, and a short first one, over libp2p; all else over ws)
  --plant NAME  plants a fault that must be found: ${plants.join(', ')}
  --keep        keeps the directories of green runs as well
  --help

Exit code 0: nothing found. 1: something. 2: usage.
`

interface Settings {
  readonly minutes: number
  readonly only: 'story' | 'campaign' | undefined
  readonly nodes: number | undefined
  readonly seed: number
  readonly way: Way | undefined
  readonly transport: Spoken | undefined
  readonly plant: string | undefined
  readonly keep: boolean
}

function usage(message: string): never {
  process.stderr.write(`${message}\n\n${help}`)
  process.exit(2)
}

function settingsOf(args: readonly string[]): Settings {
  let values: Partial<Record<string, string | boolean>>
  try {
    const text = { type: 'string' } as const
    const flag = { type: 'boolean' } as const
    const options = {
      minutes: text,
      only: text,
      nodes: text,
      seed: text,
      way: text,
      transport: text,
      plant: text,
      keep: flag,
      help: flag,
    }
    ;({ values } = parseArgs({ args: [...args], options }))
  } catch (error) {
    usage((error as Error).message)
  }
  if (values['help'] === true) {
    process.stdout.write(help)
    process.exit(0)
  }
  const number = (name: string, least: number, most: number): number | undefined => {
    const given = values[name]
    if (given === undefined) return undefined
    const parsed = Number(given)
    if (!(parsed >= least && parsed <= most)) usage(`--${name} is a number from ${least} to ${most}`)
    return parsed
  }
  const { only, plant, transport, way } = values
  if (transport !== undefined && transport !== 'ws' && transport !== 'libp2p') usage('--transport is ws or libp2p')
  if (way !== undefined && way !== 'proxies' && way !== 'namespaces') usage('--way is proxies or namespaces')
  if (only !== undefined && only !== 'story' && only !== 'campaign') usage('--only is story or campaign')
  if (typeof plant === 'string' && !plants.includes(plant)) usage(`--plant is one of ${plants.join(', ')}`)
  return {
    minutes: number('minutes', 0.1, 10_000) ?? 2,
    only,
    nodes: number('nodes', 3, 16),
    seed: Math.floor(number('seed', 0, 1e9) ?? Math.random() * 1_000_000),
    way,
    transport,
    plant: typeof plant === 'string' ? plant : undefined,
    keep: values['keep'] === true,
  }
}

/** A fleet of eight takes the two cores of a small machine a while. */
const largeFromMinutes = 5
const campaignMs = 90_000
const shortestCampaignMs = 15_000
/** The first campaign, over the other transport: what is wrong there altogether shows by then. */
const firstCampaignMs = 20_000
/** Starting, becoming equal and reading everything, beside the faults. A guess. */
const beforeAndAfterMs = 10_000
const mostShown = 12

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function addUp(sums: Record<string, number>, figures: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(figures)) {
    const isMost = name.startsWith('slowest') || name.startsWith('ms ')
    sums[name] = isMost ? Math.max(sums[name] ?? 0, value) : (sums[name] ?? 0) + value
  }
}

function lineOf({ id, ms, endMs, client, node, life, work, outcome, result }: Operation): string {
  const { elements, ...rest } = result
  const shown = { ...rest, ...(elements && { elements: elements.length }) }
  const times = `${ms.toFixed(1)} to ${Number.isFinite(endMs) ? endMs.toFixed(1) : 'never'} ms`
  return `    #${id} ${client} on node ${node}, life ${life}, ${times}: ${JSON.stringify(work)} ${outcome} ${JSON.stringify(shown)}`
}

function tellAnomalies(anomalies: readonly Anomaly[]): void {
  for (const { check, what, shows } of anomalies.slice(0, mostShown)) {
    say(`\n  ANOMALY of "${check}": ${checks[check]}\n    ${what}`)
    for (const one of shows) say(lineOf(one))
  }
  if (anomalies.length > mostShown) say(`\n  and ${anomalies.length - mostShown} more`)
}

class Runs {
  readonly #settings: Settings
  readonly #dir: string
  readonly figures: Record<string, number> = {}
  readonly skipped: Set<string> = new Set<string>()
  runs = 0
  found = 0
  kept = 0

  constructor(settings: Settings, dir: string) {
    this.#settings = settings
    this.#dir = dir
  }

  async story(nodes: number, seed: number): Promise<void> {
    const home = join(this.#dir, `story-${seed}`)
    const { plant, transport = 'ws' } = this.#settings
    say(`\nstory, ${nodes} nodes over ${transport}, seed ${seed}`)
    const { problems, skipped, figures } = await story({
      seed,
      nodes,
      home,
      alteration: plant,
      transport,
      tell: say,
    })
    for (const reason of skipped) this.skipped.add(reason)
    addUp(this.figures, figures)
    this.#end(home, problems, `--only story --transport ${transport} --nodes ${nodes} --seed ${seed}`)
  }

  async campaign(nodes: number, seed: number, lengthMs: number, way: Way, transport: Spoken): Promise<void> {
    const home = join(this.#dir, `campaign-${seed}`)
    say(`\ncampaign, ${nodes} nodes, seed ${seed}, ${Math.round(lengthMs / 1000)} s of faults, ${way}, ${transport}`)
    const { plant } = this.#settings
    const { anomalies, problems, figures, planned } = await campaign({
      seed,
      nodes,
      lengthMs,
      home,
      alteration: plant,
      way,
      transport,
    })
    addUp(this.figures, figures)
    const { 'operations ok': ok = 0, 'operations fail': failed = 0, 'operations info': unknown = 0 } = figures
    say(`  ${ok} operations ok, ${failed} refused, ${unknown} unknown; equal after ${figures['ms to equal'] ?? 0} ms`)
    tellAnomalies(anomalies)
    if (anomalies.length + problems.length > 0) {
      say('\n  faults, in milliseconds since clients began:')
      for (const { atMs, forMs, fault } of planned) say(`    ${atMs} for ${forMs}: ${JSON.stringify(fault)}`)
    }
    this.found += anomalies.length
    const minutes = (lengthMs + beforeAndAfterMs) / 60_000
    const again = `--only campaign --way ${way} --transport ${transport} --nodes ${nodes} --seed ${seed} --minutes ${minutes.toFixed(2)}`
    this.#end(home, problems, again, anomalies.length > 0)
  }

  #end(home: string, problems: readonly string[], again: string, isWrong = false): void {
    this.runs++
    this.found += problems.length
    for (const problem of problems) say(`\n  PROBLEM ${problem}`)
    if (problems.length > 0 || isWrong || this.#settings.keep) {
      this.kept++
      say(`\n  kept    ${home}\n  again   npm run test:cluster -- ${again}`)
    } else rmSync(home, { recursive: true, force: true })
  }
}

async function main(): Promise<number> {
  const settings = settingsOf(process.argv.slice(2))
  if (!canTellDiallers) {
    say('skipped: who dials whom is told by the tables of Linux, and this is another system')
    return 0
  }
  const { minutes, only, seed, nodes } = settings
  const dir = mkdtempSync(join(tmpdir(), 'skein-cluster-'))
  say(`seed ${seed}, in ${dir}`)
  const startMs = performance.now()
  const leftMs = (): number => minutes * 60_000 - (performance.now() - startMs)
  const runs = new Runs(settings, dir)
  const whyNot = whyNoNamespaces()
  if (whyNot !== undefined) {
    if (settings.way === 'namespaces') usage(`there are no namespaces here: ${whyNot}`)
    runs.skipped.add(`campaigns in namespaces: ${whyNot}`)
  }
  let next = seed
  if (only !== 'campaign') {
    await runs.story(nodes ?? 3, next++)
    if (minutes >= largeFromMinutes && nodes === undefined) await runs.story(8, next++)
  }
  for (let turn = 0, goesOn = only !== 'story'; goesOn; turn++) {
    const transport = settings.transport ?? (turn % 4 === 0 ? 'libp2p' : 'ws')
    const isFirst = turn === 0 && settings.transport === undefined
    const lengthMs = Math.min(isFirst ? firstCampaignMs : campaignMs, leftMs() - beforeAndAfterMs)
    goesOn = turn === 0 || lengthMs >= shortestCampaignMs
    if (!goesOn) break
    const way = settings.way ?? (turn % 3 === 1 && whyNot === undefined ? 'namespaces' : 'proxies')
    const size = nodes ?? (turn % 2 === 0 ? 3 : 5)
    await runs.campaign(size, next++, Math.max(lengthMs, shortestCampaignMs), way, transport)
  }
  say('')
  for (const name of Object.keys(runs.figures).sort())
    say(`${name.padEnd(34)} ${String(runs.figures[name]).padStart(10)}`)
  for (const reason of runs.skipped) say(`${'skipped'.padEnd(34)} ${reason}`)
  say(`${'runs'.padEnd(34)} ${String(runs.runs).padStart(10)}`)
  say(`${'seconds'.padEnd(34)} ${((performance.now() - startMs) / 1000).toFixed(1).padStart(10)}`)
  say(`${'found'.padEnd(34)} ${String(runs.found).padStart(10)}`)
  if (runs.kept === 0) rmSync(dir, { recursive: true, force: true })
  return runs.found === 0 ? 0 : 1
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
process.exitCode = await main()
