/** A fleet of one system: its processes, where they listen, and what they have taken. */
import { mkdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../../test/cluster/ports.ts'
import { nowUs } from './clock.ts'
import type { Contestant } from './contestant.ts'
import type { OrderName, Orders } from './control.ts'
import { Member } from './member.ts'
import type { Address, Place } from './system.ts'
import type { Usage } from './usage.ts'

const host = '127.0.0.1'
const readyWithinMs = 60_000
const closeWithinMs = 3_000

/** All that a fleet has taken since it was started, by process. */
export interface Taken {
  readonly nodes: readonly (Usage & { readonly sentBytes: number; readonly receivedBytes: number })[]
  /** Absent without a hub. What it sends is what the nodes receive. */
  readonly hub: Usage | undefined
}

export class Fleet implements AsyncDisposable {
  readonly contestant: Contestant
  readonly members: readonly Member[]
  readonly #hub: Member | undefined
  readonly #home: string

  private constructor(contestant: Contestant, members: readonly Member[], hub: Member | undefined, home: string) {
    this.contestant = contestant
    this.members = members
    this.#hub = hub
    this.#home = home
  }

  static async open(contestant: Contestant, nodes: number): Promise<Fleet> {
    const { file, system, variant, id } = contestant
    const home = await mkdtemp(join(tmpdir(), 'skein-convergence-'))
    const run = home.slice(-6)
    const dirOf = (name: string): string => {
      const dir = join(home, name)
      mkdirSync(dir)
      return dir
    }
    const addresses: Address[] = []
    for (let index = 0; index < nodes; index++) addresses.push({ host, port: await freePort() })
    const hubAddress = system.topology === 'hub' ? { host, port: await freePort() } : undefined
    const hub = hubAddress === undefined ? undefined : new Member(`${id}, hub`)
    const members = addresses.map((_, index) => new Member(`${id}, node ${index}`))
    const fleet = new Fleet(contestant, members, hub, home)
    try {
      if (hub !== undefined && hubAddress !== undefined) {
        const place = { variant: variant.name, dir: dirOf('hub'), listen: hubAddress, run }
        hub.pids = (await hub.ask('openHub', { system: file, place })).pids
      }
      for (const [index, address] of addresses.entries()) {
        const place: Place = {
          index,
          nodes,
          variant: variant.name,
          dir: dirOf(`node-${index}`),
          listen: address,
          advertise: address,
          members: addresses,
          hub: hubAddress,
          run,
        }
        await fleet.member(index).ask('open', { system: file, place })
      }
      await fleet.ready()
      return fleet
    } catch (error) {
      await fleet[Symbol.asyncDispose]()
      throw error
    }
  }

  member(index: number): Member {
    const member = this.members[index]
    if (member === undefined) throw new Error(`the fleet has no node ${index}`)
    return member
  }

  /** The same order to every node. */
  all<Name extends OrderName>(name: Name, order: Orders[Name]['order']): Promise<Orders[Name]['answer'][]> {
    return Promise.all(this.members.map((member) => member.ask(name, order)))
  }

  async ready(): Promise<void> {
    const endUs = nowUs() + 1000 * readyWithinMs
    for (const member of this.members) {
      while (!(await member.ask('ready', {})).isReady) {
        if (nowUs() > endUs) throw new Error(`${member.name} did not become ready within ${readyWithinMs / 1000} s`)
        await sleep(20)
      }
    }
  }

  async taken(): Promise<Taken> {
    const wires = await this.all('wire', {})
    const nodes = this.members.map((member, index) => ({
      ...member.usage(),
      sentBytes: wires[index]?.sentBytes ?? 0,
      receivedBytes: wires[index]?.receivedBytes ?? 0,
    }))
    return { nodes, hub: this.#hub?.usage() }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.members.map((one) => one.kill()))
    if (this.#hub !== undefined) await ended(this.#hub)
    await rm(this.#home, { recursive: true, force: true })
  }
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
