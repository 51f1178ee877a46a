/**
 * What the demos play on: a small fleet on this host, a network that can be broken, and somebody who tells what happens at a
 * pace that can be read. What is told is read from the nodes, never assumed: were one of them to come to another end, the
 * words would say so, and the exit code too.
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
import { oneLine } from './screen.ts'
import type { Screen } from './screen.ts'

/** Time to read a line, and a scene. A guess. */
const lineMs = 700
const sceneMs = 2_500
const pictureMs = 8_000
const frame = '   | '
/** How long a scene may take before it is given up. A guess: far more than a slow host needs. */
export const patienceMs = 60_000
const lookAgainMs = 20

/** Who is where: a node, and the agent that works through it. */
export const cast: { readonly oslo: 'ada'; readonly lima: 'bob'; readonly cairo: 'cyd' } = {
  oslo: 'ada',
  lima: 'bob',
  cairo: 'cyd',
}
export type Name = keyof typeof cast
export type Nodes = Readonly<Record<Name, SkeinNode>>
export const names: readonly Name[] = Object.keys(cast) as Name[]

/** What a play comes to. */
export interface Played {
  /** All that was promised came true. */
  readonly well: boolean
}

export interface Scenery {
  readonly nodes: Nodes
  readonly cables: Cables
  /** The directories of the nodes stand in it. */
  readonly dir: string
}

/** Opens the nodes, plays, and leaves nothing behind. */
export async function perform(
  call: Call,
  play: (stage: Stage, scenery: Scenery) => Promise<Played>,
): Promise<Answer | undefined> {
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
    const found = await play(stage, { nodes: Object.fromEntries(open) as Nodes, cables, dir })
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

export async function allLinked(stage: Stage, nodes: Nodes): Promise<void> {
  const others = names.length - 1
  await stage.until(() =>
    Object.values(nodes).every(
      (node) => node.peers.list().filter(({ linked, state }) => linked && state === 'alive').length === others,
    ),
  )
}

/** What is on one of them is on the disks of all of them. */
export async function inStep(stage: Stage, nodes: Partial<Nodes>): Promise<void> {
  const all = Object.values(nodes)
  const signal = stage.stop
  for (const node of all) await node.synced({ peers: all.length - 1, timeoutMs: patienceMs, signal })
}

/** What is said, at a pace that can be read; nothing of it where the answer is for machines. */
export class Stage {
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

  /** Something that is looked at as a whole, and made for the room that there is. */
  async picture(draw: (screen: Screen, columns: number) => readonly string[]): Promise<void> {
    this.stop.throwIfAborted()
    const { json, screen } = this.#call
    if (!json) for (const line of draw(screen, screen.columns - frame.length)) screen.line(`${frame}${line}`.trimEnd())
    await this.#pause(pictureMs)
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
