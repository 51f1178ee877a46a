/** A fleet of real nodes with our network between them. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { newFleetKey } from '../../src/node/security/fleet-key.ts'
import type { Prng } from '../../src/base/prng.ts'
import { processOf } from './dialler.ts'
import { Member } from './member.ts'
import { Namespaces } from './namespaces.ts'
import type { Network } from './network.ts'
import { freePort } from './ports.ts'
import { Proxies, clear } from './proxy.ts'
import type { Rule } from './proxy.ts'

export interface Settings {
  readonly count: number
  readonly home: string
  readonly chance: Prng
  /** What every node is altered by: a planted fault. */
  readonly alteration?: string | undefined
  readonly way?: Way
  readonly transport?: Spoken
  /** Wall clocks can be set. */
  readonly isAstray?: boolean
}

export type Way = 'proxies' | 'namespaces'
/** What nodes speak with one another. */
export type Spoken = 'ws' | 'libp2p'

interface Verified {
  readonly equal: boolean
  readonly spaces: readonly {
    readonly space: string
    readonly root: string
    readonly peers: readonly { readonly node: string; readonly verdict: string; readonly keys: readonly string[] }[]
  }[]
}

export class Cluster {
  readonly members: readonly Member[]
  readonly network: Network
  readonly fleetKey: string
  #isClosed = false

  private constructor(members: readonly Member[], network: Network, fleetKey: string) {
    this.members = members
    this.network = network
    this.fleetKey = fleetKey
  }

  static async open({
    count,
    home,
    chance,
    alteration,
    way = 'proxies',
    transport = 'ws',
    isAstray = false,
  }: Settings): Promise<Cluster> {
    const members: Member[] = []
    const random = chance.fork(1)
    const network = way === 'namespaces' ? Namespaces.open(count) : await proxied(members, count, random)
    const places = Array.from({ length: count }, (_, node) => {
      const { advertise, ...place } = network.place(node)
      return { ...place, advertise: transport === 'ws' ? advertise : multiaddressOf(advertise) }
    })
    const fleetKey = newFleetKey()
    for (const [index, { listen, advertise, prefix }] of places.entries()) {
      const member = new Member({
        index,
        home: join(home, `node-${index}`),
        advertise,
        listen,
        prefix,
        isApart: way === 'namespaces',
        isAstray,
        transport,
        join: places.filter((_, other) => other !== index).map((place) => place.advertise),
      })
      member.alteration = alteration
      member.keys(fleetKey)
      members.push(member)
    }
    return new Cluster(members, network, fleetKey)
  }

  async start(index: number): Promise<void> {
    if (this.#isClosed) throw new Error('the fleet is closed: nobody starts any more')
    await this.member(index).start()
    this.network.up(index, true)
  }

  async end(index: number, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    await this.member(index).end(signal)
    this.network.up(index, false)
  }

  member(index: number): Member {
    const member = this.members[index]
    if (member === undefined) throw new Error(`there is no node ${index}`)
    return member
  }

  /** For every directed pair from one group to the other, and back unless `oneWay`. */
  between(some: readonly number[], others: readonly number[], rule: Partial<Rule>, oneWay = false): void {
    const whole = { ...clear, ...rule }
    for (const from of some) {
      for (const to of others) {
        if (from === to) continue
        this.network.set(from, to, whole)
        if (!oneWay) this.network.set(to, from, whole)
      }
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const member of this.members) if (member.isPaused) member.resume()
    await Promise.all(this.members.map((member) => member.end('SIGKILL')))
    await this.network.close()
  }

  /** Nothing once every node says that it and all others are equal; else, after the time, who says what. */
  async equalWithin(timeoutMs: number): Promise<string | undefined> {
    const untilMs = performance.now() + timeoutMs
    for (;;) {
      const said = await Promise.all(this.members.map((member) => this.#unequal(member)))
      const wrong = said.filter((one) => one !== undefined)
      if (wrong.length === 0) return undefined
      if (performance.now() > untilMs) return wrong.join('\n')
      await sleep(300)
    }
  }

  async #unequal(member: Member): Promise<string | undefined> {
    const answer = await member.ask('GET', '/v1/verify', { timeoutMs: 20_000 })
    const who = `node ${member.index} (${member.node})`
    if (answer.kind !== 'answer' || answer.status !== 200) return `${who}: ${JSON.stringify(answer)}`
    const { equal, spaces } = answer.body as unknown as Verified
    const others = this.members.filter((other) => other !== member).map(({ node }) => node)
    for (const { space, peers } of spaces) {
      const missing = others.filter((node) => !peers.some((peer) => peer.node === node && peer.verdict === 'equal'))
      if (missing.length > 0)
        return `${who}: ${space} is not shown equal with ${missing.join(', ')}: ${JSON.stringify(peers)}`
    }
    return equal && spaces.length > 0 ? undefined : `${who}: ${JSON.stringify(answer.body)}`
  }

  /** The command line, as somebody would type it. */
  skein(...words: readonly string[]): Promise<{ readonly code: number; readonly out: string; readonly error: string }> {
    return new Promise((resolve) => {
      execFile(process.execPath, [cli, ...words], { timeout: 60_000 }, (failed, out, error) => {
        const code = failed === null ? 0 : typeof failed.code === 'number' ? failed.code : -1
        resolve({ code, out, error })
      })
    })
  }
}

/** `ws://host:port` as libp2p writes it. */
function multiaddressOf(address: string): string {
  const { hostname, port } = new URL(address)
  return `/ip4/${hostname}/tcp/${port}`
}

async function proxied(members: readonly Member[], count: number, random: Prng): Promise<Proxies> {
  const proxies = new Proxies(
    (port, localPort) => {
      const pids = members.map((member) => member.pid ?? -1)
      const pid = processOf(port, localPort, pids)
      return pid === undefined ? undefined : pids.indexOf(pid)
    },
    () => random.below(1_000_000) / 1_000_000,
  )
  // A node tells only the address that it advertises, so the one it listens on is chosen here.
  for (let node = 0; node < count; node++) await proxies.open(node, await freePort())
  return proxies
}

const cli = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
