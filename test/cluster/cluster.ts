/** A fleet of real nodes with our network between them. */
import { execFile } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { newFleetKey } from '../../src/node/security/fleet-key.ts'
import type { Prng } from '../../src/base/prng.ts'
import { processOf } from './dialler.ts'
import { Member } from './member.ts'
import { Proxies, clear } from './proxy.ts'
import type { Rule } from './proxy.ts'

export interface Settings {
  readonly count: number
  readonly home: string
  readonly chance: Prng
  /** What every node is altered by: a planted fault. */
  readonly alteration?: string | undefined
}

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
  readonly proxies: Proxies
  fleetKey: string

  readonly #ports: readonly number[]

  private constructor(members: readonly Member[], proxies: Proxies, fleetKey: string, ports: readonly number[]) {
    this.#ports = ports
    this.members = members
    this.proxies = proxies
    this.fleetKey = fleetKey
  }

  static async open({ count, home, chance, alteration }: Settings): Promise<Cluster> {
    const members: Member[] = []
    const random = chance.fork(1)
    const proxies = new Proxies(
      (port, localPort) => {
        const pids = members.map((member) => member.pid ?? -1)
        const pid = processOf(port, localPort, pids)
        return pid === undefined ? undefined : pids.indexOf(pid)
      },
      () => random.below(1_000_000) / 1_000_000,
    )
    const ports: number[] = []
    for (let node = 0; node < count; node++) ports.push(await proxies.open(node))
    const addresses = ports.map((port) => `ws://127.0.0.1:${port}`)
    const fleetKey = newFleetKey()
    const listenPorts: number[] = []
    for (const [index, advertise] of addresses.entries()) {
      // A node tells only the address that it advertises, so the one it listens on is chosen here.
      const port = await freePort()
      listenPorts.push(port)
      const member = new Member({
        index,
        home: join(home, `node-${index}`),
        advertise,
        listen: `127.0.0.1:${port}`,
        join: addresses.filter((_, other) => other !== index),
      })
      member.alteration = alteration
      member.keys(fleetKey)
      members.push(member)
    }
    return new Cluster(members, proxies, fleetKey, listenPorts)
  }

  async start(index: number): Promise<void> {
    const member = this.member(index)
    await member.start()
    this.proxies.target(index, this.#ports[index])
  }

  async end(index: number, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    await this.member(index).end(signal)
    this.proxies.target(index, undefined)
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
        this.proxies.set(from, to, whole)
        if (!oneWay) this.proxies.set(to, from, whole)
      }
    }
  }

  async close(): Promise<void> {
    for (const member of this.members) if (member.isPaused) member.resume()
    await Promise.all(this.members.map((member) => member.end('SIGKILL')))
    await this.proxies.close()
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

/** Below those that the system hands out by itself, so that nobody gets it by chance while its node is down. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    const server = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    await new Promise((resolve) => server.close(resolve))
    if (isFree) return port
  }
}

const cli = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
