/**
 * Whole nodes for figures: the simulator's hosts and its network, with real machines, without its story and its checkers.
 * Who got which delta, over how many hops and how often, is read off the packets.
 */
import { register } from '../src/crdt/types/register.ts'
import type { Dot, OriginId } from '../src/crdt/dot.ts'
import { Machine } from '../src/node/machine.ts'
import type { Input, MachineConfig, Output } from '../src/node/machine.ts'
import { Agenda } from '../src/sim/heap.ts'
import { Host } from '../src/sim/host.ts'
import type { HostStage, Life } from '../src/sim/host.ts'
import { Network } from '../src/sim/network.ts'
import type { Party } from '../src/sim/network.ts'
import type { SimOptions } from '../src/sim/options.ts'
import { prng } from '../src/base/prng.ts'
import type { Prng } from '../src/base/prng.ts'
import { decodePacket } from '../src/wire/codec.ts'
import type { NodeId } from '../src/wire/frame.ts'
import type { Applied } from '../src/replica/replica.ts'

const spaceName = 'facts'

/** A LAN: a message takes 1 to 2 ms, a commit as long. Nothing else happens by itself. */
function optionsOf(seed: number, nodes: number): SimOptions {
  const all = Array.from({ length: nodes }, (_, node) => node)
  return {
    seed,
    nodes,
    holders: [all],
    types: ['register'],
    writes: 0,
    faultsMs: 0,
    faults: { crash: 0, network: 0, weather: 0, clock: 0, freeze: 0, disk: 0, directory: 0, damage: 0, twin: 0 },
    retention: { keepMs: 86_400_000, keepBytes: 64 << 20 },
    cacheBytes: 1_000_000,
    bounds: {},
    durability: all.map(() => 'disk'),
    skewMs: all.map(() => 0),
    driftPpm: all.map(() => 0),
    latencyMs: [1, 2],
    syncMs: [1, 2],
    pageRows: 256,
    keysOfType: 1,
    restartAll: false,
    opensLate: false,
    upgrades: false,
    lost: [],
    ambushes: 0,
    rules: false,
    tells: false,
    presence: false,
  }
}

/** One delta on its way to everybody. */
export interface Track {
  readonly dot: Dot
  readonly writtenMs: number
  /** By node: when it was applied. */
  readonly appliedMs: Map<number, number>
  /** By node: over how many hops it came first. */
  readonly hops: Map<number, number>
  /** How often it was sent to somebody. */
  copies: number
}

interface Carried {
  readonly from: number
  readonly tracks: readonly Track[]
}

/** Notes who sent which packet. */
class Wire extends Network {
  noted: ((from: number, bytes: Uint8Array) => void) | undefined

  override send(from: Party, link: number, bytes: Uint8Array): void {
    this.noted?.(from.index, bytes)
    super.send(from, link, bytes)
  }
}

class Watched extends Machine {
  arrived: ((bytes: Uint8Array) => void) | undefined

  override handle(input: Input, nowMs: number): readonly Output[] {
    if (input.kind === 'message') this.arrived?.(input.bytes)
    return super.handle(input, nowMs)
  }
}

export class Fleet implements HostStage {
  readonly options: SimOptions
  readonly hosts: readonly Host[]
  readonly network: Wire
  readonly retention: HostStage['retention']
  readonly random: Prng
  readonly counts: Map<string, number> = new Map()
  now = 0
  /** After every step of a node. */
  stepped: (host: Host) => void = () => {}
  readonly #agenda = new Agenda()
  readonly #tracks = new Map<OriginId, Map<number, Track>>()
  readonly #carried = new WeakMap<Uint8Array, Carried>()
  #writes = 0

  constructor(seed: number, nodes: number) {
    this.options = optionsOf(seed, nodes)
    this.retention = this.options.retention
    this.random = prng(seed).fork(11)
    this.hosts = Array.from({ length: nodes }, (_, index) => new Host(this, index))
    this.network = new Wire(this, this.hosts, seed, this.options.latencyMs)
  }

  /** All nodes start, one after the other, and know the first one and the one before. */
  start(withinMs: number): void {
    for (const [at, host] of this.hosts.entries()) {
      this.plan(this.now + Math.floor((at * withinMs) / this.hosts.length), () => host.start())
    }
    this.run(withinMs)
  }

  run(forMs: number): void {
    const until = this.now + forMs
    while (this.#agenda.nextAt <= until) {
      const next = this.#agenda.next()
      if (next === undefined) break
      this.now = next.at
      next.run()
    }
    this.now = until
  }

  /** Runs until that holds, looking every so often; undefined when it does not come to it. */
  runUntil(holds: () => boolean, lookMs: number, mostMs: number): number | undefined {
    const since = this.now
    while (!holds()) {
      if (this.now - since >= mostMs) return undefined
      this.run(lookMs)
    }
    return this.now - since
  }

  /** Every node knows of all others that they live. */
  get isWhole(): boolean {
    return this.hosts.every((host) => machineOf(host).membership.size === this.hosts.length)
  }

  /** All hold the same, and have it from the same deltas. */
  get isEqual(): boolean {
    const [first, ...others] = this.hosts.map((host) => stateOf(host))
    return others.every((other) => other === first)
  }

  write(host: Host, value: unknown, key: string = `key-${this.#writes++ % 1000}`): Dot {
    const { replica } = machineOf(host)
    const space = replica.open(spaceName)
    const operation = register.operations['set']
    if (operation === undefined) throw new Error('a register has no set')
    replica.transact(space, { nowMs: host.nowMs, agent: 'bench', reason: undefined }, (change) =>
      change.run(space.entry(key), register, operation, { value }),
    )
    const dot = { origin: replica.origin, seq: space.vector.get(replica.origin) ?? 0 }
    host.receive({ kind: 'local' })
    return dot
  }

  /** Writes, and follows the delta until everybody has it. */
  track(host: Host, value: unknown): Track {
    const { replica } = machineOf(host)
    const { origin } = replica
    const seq = (replica.open(spaceName).vector.get(origin) ?? 0) + 1
    const track: Track = {
      dot: { origin, seq },
      writtenMs: this.now,
      appliedMs: new Map(),
      hops: new Map([[host.index, 0]]),
      copies: 0,
    }
    const tracks = this.#tracks.get(origin)
    if (tracks === undefined) this.#tracks.set(origin, new Map([[seq, track]]))
    else tracks.set(seq, track)
    this.network.noted = (from, bytes) => this.#note(from, bytes)
    this.write(host, value)
    return track
  }

  /** Follows none any more. */
  forget(): void {
    this.#tracks.clear()
    this.network.noted = undefined
  }

  #note(from: number, bytes: Uint8Array): void {
    let tracks: Track[] | undefined
    for (const frame of decodePacket(bytes).frames) {
      if (frame.kind !== 'deltas') continue
      for (const { origin, seq, bodies } of frame.runs) {
        const known = this.#tracks.get(origin)
        if (known === undefined) continue
        for (let at = 0; at < bodies.length; at++) {
          const track = known.get(seq + at)
          if (track === undefined) continue
          track.copies++
          ;(tracks ??= []).push(track)
        }
      }
    }
    if (tracks !== undefined) this.#carried.set(bytes, { from, tracks })
  }

  #arrived(at: number, bytes: Uint8Array): void {
    const carried = this.#carried.get(bytes)
    if (carried === undefined) return
    for (const { hops } of carried.tracks) {
      if (!hops.has(at)) hops.set(at, (hops.get(carried.from) ?? 0) + 1)
    }
  }

  // --- what hosts and the network ask for

  plan(at: number, run: () => void): void {
    this.#agenda.plan(at, run)
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  tell(): void {}

  accused(): void {}

  violate(rule: string, what: string): void {
    throw new Error(`${rule}: ${what}`)
  }

  makeMachine(config: MachineConfig): Machine {
    const machine = new Watched(config)
    const at = Number(config.address.slice(config.address.lastIndexOf('-') + 1))
    machine.arrived = (bytes) => this.#arrived(at, bytes)
    return machine
  }

  spaceName(): string {
    return spaceName
  }

  applied(host: Host, _life: Life, { delta }: Applied): void {
    this.#tracks.get(delta.origin)?.get(delta.seq)?.appliedMs.set(host.index, this.now)
  }

  /** Nobody has listed them: logs are kept for as long as the retention says. */
  rosterOf(): readonly NodeId[] {
    return []
  }

  sent(): void {}

  opened(): void {}

  event(): void {}

  told(): void {}

  diskLost(): void {}

  stored(): void {}
}

export function machineOf(host: Host): Machine {
  const machine = host.current?.machine
  if (!(machine instanceof Machine)) throw new Error(`node ${host.index} is down`)
  return machine
}

function stateOf(host: Host): string {
  const space = machineOf(host).replica.open(spaceName)
  return `${space.contextDigest().join()} ${space.tree.root.join()}`
}
