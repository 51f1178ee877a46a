/** A fleet of one system: its processes, where they listen, what stands in their links, and what they have taken. */
import { mkdirSync } from 'node:fs'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../../test/cluster/ports.ts'
import { nowUs } from './clock.ts'
import type { Contestant } from './contestant.ts'
import type { OrderName, Orders } from './control.ts'
import { Member } from './member.ts'
import { Shaper } from './shaper.ts'
import type { Address } from './system.ts'
import type { Usage } from './usage.ts'

const host = '127.0.0.1'
const readyWithinMs = 60_000
const closeWithinMs = 3_000

export interface FleetOptions {
  readonly nodes: number
  /** A shaper stands in every link: another path than without, so figures of the two are not compared. */
  readonly isShaped?: boolean
  /** How many of the nodes start with the fleet; the others when `start` says so. All of them by default. */
  readonly starting?: number
  readonly seed?: number
}

export interface NodeTaken extends Usage {
  readonly sentBytes: number
  readonly receivedBytes: number
}

/** All that a fleet has taken since it was started. */
export interface Taken {
  readonly nodes: readonly NodeTaken[]
  /** Absent without a hub. What it sends is what the nodes receive. */
  readonly hub: Usage | undefined
}

export class Fleet implements AsyncDisposable {
  readonly contestant: Contestant
  readonly nodes: number
  readonly shaper: Shaper | undefined
  /** The hub as a party of the shaper, for systems that have one. */
  readonly hubParty: number | undefined
  readonly #members: Member[] = []
  #hub: Member | undefined
  readonly #home: string
  /** Where each party listens itself. */
  readonly #listen: readonly Address[]
  /** Where each is dialled. */
  readonly #dialled: readonly Address[]

  private constructor(
    contestant: Contestant,
    nodes: number,
    home: string,
    listen: readonly Address[],
    shaper: Shaper | undefined,
  ) {
    this.contestant = contestant
    this.nodes = nodes
    this.shaper = shaper
    this.hubParty = contestant.system.topology === 'hub' ? nodes : undefined
    this.#home = home
    this.#listen = listen
    this.#dialled = shaper === undefined ? listen : shaper.ports.map((port) => ({ host, port }))
  }

  static async open(contestant: Contestant, options: FleetOptions): Promise<Fleet> {
    const { nodes, isShaped = false, starting = nodes, seed = 1 } = options
    const home = await mkdtemp(join(tmpdir(), 'skein-convergence-'))
    const listen: Address[] = []
    const parties = contestant.system.topology === 'hub' ? nodes + 1 : nodes
    for (let party = 0; party < parties; party++) listen.push({ host, port: await freePort() })
    const ports = listen.map(({ port }) => port)
    const shaper = isShaped ? await Shaper.open(ports, seed) : undefined
    const fleet = new Fleet(contestant, nodes, home, listen, shaper)
    try {
      await fleet.#startHub()
      // Processes take longest to start: they do so side by side, and open one after the other.
      for (let index = 0; index < starting; index++) fleet.#process(index)
      for (let index = 0; index < starting; index++) await fleet.#open(index)
      await fleet.ready()
      return fleet
    } catch (error) {
      await fleet[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Those that were started, by index. */
  get members(): readonly Member[] {
    return this.#members
  }

  member(index: number): Member {
    const member = this.#members[index]
    if (member === undefined) throw new Error(`the fleet has no node ${index}`)
    return member
  }

  /** Starts a node for the first time, or again after it was killed, with the directory that it had. Answers when it is open. */
  start(index: number): Promise<Member> {
    this.#process(index)
    return this.#open(index)
  }

  #process(index: number): void {
    this.#members[index] = new Member(`${this.contestant.id}, node ${index}`)
  }

  async #open(index: number): Promise<Member> {
    const { file, system, variant } = this.contestant
    const member = this.member(index)
    const dir = join(this.#home, `node-${index}`)
    mkdirSync(dir, { recursive: true })
    await this.#tellShaper()
    const { hubParty } = this
    const { tookUs } = await member.ask('open', {
      system: file,
      place: {
        index,
        nodes: this.nodes,
        variant: variant.name,
        dir,
        listen: addressAt(this.#listen, index),
        advertise: addressAt(this.#dialled, index),
        members: this.#dialled.slice(0, this.nodes),
        hub: system.topology === 'hub' && hubParty !== undefined ? addressAt(this.#dialled, hubParty) : undefined,
        run: this.#home.slice(-6),
      },
    })
    member.openedMs = tookUs / 1000
    return member
  }

  /** The same order to every node that was started. */
  all<Name extends OrderName>(name: Name, order: Orders[Name]['order']): Promise<Orders[Name]['answer'][]> {
    return Promise.all(this.#members.map((member) => member.ask(name, order)))
  }

  async ready(): Promise<void> {
    const endUs = nowUs() + 1000 * readyWithinMs
    // A fleet of which some are yet to start can have no node with all its links.
    const awaited = this.#members.length === this.nodes ? this.#members : []
    for (const member of awaited) {
      while (!(await member.ask('ready', {})).isReady) {
        if (nowUs() > endUs) throw new Error(`${member.name} did not become ready within ${readyWithinMs / 1000} s`)
        await sleep(20)
      }
    }
  }

  async taken(): Promise<Taken> {
    const wires = await this.all('wire', {})
    const nodes = this.#members.map((member, index) => ({
      ...member.usage(),
      sentBytes: wires[index]?.sentBytes ?? 0,
      receivedBytes: wires[index]?.receivedBytes ?? 0,
    }))
    return { nodes, hub: this.#hub?.usage() }
  }

  /** In the directories of nodes and hub. */
  async diskBytes(): Promise<number> {
    const files = await readdir(this.#home, { recursive: true, withFileTypes: true })
    const sizes = files.map(async (file) => {
      // A database removes files as it goes.
      const found = file.isFile() ? await stat(join(file.parentPath, file.name)).catch(() => undefined) : undefined
      return found?.size ?? 0
    })
    return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
  }

  /** Every shaped link between some nodes and the others. The hub stands with the first of the others. */
  async cut(some: readonly number[], how: 'hold' | 'reset'): Promise<void> {
    const others = Array.from({ length: this.nodes }, (_, index) => index).filter((index) => !some.includes(index))
    if (this.hubParty !== undefined) others.push(this.hubParty)
    await this.shaper?.between(some, others, { cut: how })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#members.map((member) => member.kill()))
    if (this.#hub !== undefined) await ended(this.#hub)
    this.shaper?.close()
    await rm(this.#home, { recursive: true, force: true })
  }

  async #startHub(): Promise<void> {
    const { hubParty, contestant } = this
    if (hubParty === undefined) return
    const { id, file, variant } = contestant
    const hub = new Member(`${id}, hub`)
    this.#hub = hub
    const dir = join(this.#home, 'hub')
    mkdirSync(dir)
    const place = { variant: variant.name, dir, listen: addressAt(this.#listen, hubParty), run: this.#home.slice(-6) }
    const { pids, isElsewhere } = await hub.ask('openHub', { system: file, place })
    hub.pids = pids
    hub.isElsewhere = isElsewhere
  }

  async #tellShaper(): Promise<void> {
    const parties: (readonly number[])[] = Array.from({ length: this.nodes }, (_, index) => {
      const member = this.#members[index]
      return member === undefined ? [] : [member.pid, ...member.pids]
    })
    if (this.#hub !== undefined) parties.push([this.#hub.pid, ...this.#hub.pids])
    await this.shaper?.parties(parties)
  }
}

function addressAt(addresses: readonly Address[], party: number): Address {
  const address = addresses[party]
  if (address === undefined) throw new Error(`there is no party ${party}`)
  return address
}

/** In order first: a hub may have started programs of its own. */
async function ended(hub: Member): Promise<void> {
  await Promise.race([hub.ask('close', {}).catch(() => undefined), sleep(closeWithinMs)])
  await hub.kill()
  for (const pid of hub.pids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It is gone.
    }
  }
}
