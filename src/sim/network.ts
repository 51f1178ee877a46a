/**
 * Links between nodes, as the machine dials them: each an ordered stream in both directions, which can be cut (what is in
 * flight goes with it), go silent, or run slowly. On top of that messages may be lost, doubled, delayed, reordered or
 * garbled on a link that lives: no stream does that, and a protocol that stands it needs to trust its transport less.
 */
import { prng } from '../base/prng.ts'
import type { Prng } from '../base/prng.ts'
import type { Input } from '../node/machine.ts'
import { describePacket } from './packets.ts'
import type { PartitionAction, SlowLinkAction, WeatherAction } from './story.ts'

type LinkId = Extract<Input, { readonly kind: 'opened' }>['link']

/** A node as the network sees it. */
export interface Party {
  readonly index: number
  readonly address: string
  /** Counts its starts; 0 while it is down. */
  readonly life: number
  /** Down because its host has no power: nobody there says that a link is dead. */
  readonly silent: boolean
  receive(input: Input): void
}

export interface NetworkStage {
  readonly now: number
  plan(at: number, run: () => void): void
  count(what: string): void
  /** For the transcript. */
  tell(what: () => string): void
  violate(rule: 'bounds' | 'contract', what: string): void
}

/** The machine may have so much unsent on a link (its contract), and one frame more. */
const unsentBytes = 2 * 1024 * 1024
/** How long dialling somebody who does not answer takes, and noticing that nobody acknowledges. As in Linux, shortened. */
const noAnswerMs = 3_000
const silenceMs = 15_000
/** One end of a connection. */
class End {
  readonly party: Party
  readonly life: number
  readonly link: LinkId
  /** Set once both ends are. */
  other: End
  open = false
  closed = false
  /** When everything that was sent has left. */
  leftAt = 0
  /** When the last message arrives at the other end. */
  arrivesAt = 0
  drainPlanned = false
  /** It was cut: nothing arrives any more, though it is not told so yet. */
  cut = false
  /** Sends into the void, for good. */
  mute = false

  constructor(party: Party, link: LinkId) {
    this.party = party
    this.life = party.life
    this.link = link
    this.other = this
  }

  get alive(): boolean {
    return this.open && !this.closed && this.party.life === this.life
  }
}

export class Network {
  readonly #stage: NetworkStage
  readonly #parties: readonly Party[]
  readonly #latencyMs: readonly [number, number]
  readonly #seed: number
  readonly #chances = new Map<number, Prng>()
  readonly #byAddress: ReadonlyMap<string, Party>
  readonly #links: Map<LinkId, End>[]
  readonly #weathers: { readonly action: WeatherAction; readonly until: number }[] = []
  readonly #slow: { readonly action: SlowLinkAction; readonly until: number }[] = []
  readonly #partitions: { readonly action: PartitionAction; readonly since: number; readonly until: number }[] = []
  /** Links that come in have odd numbers, the machine's own are even. */
  #incoming = 1
  sentBytes = 0
  sentMessages = 0

  constructor(stage: NetworkStage, parties: readonly Party[], seed: number, latencyMs: readonly [number, number]) {
    this.#stage = stage
    this.#parties = parties
    this.#latencyMs = latencyMs
    this.#seed = seed
    this.#byAddress = new Map(parties.map((party) => [party.address, party]))
    this.#links = parties.map(() => new Map<LinkId, End>())
  }

  // --- what machines ask for

  dial(from: Party, link: LinkId, address: string): void {
    const links = this.#linksOf(from)
    if (links.has(link)) return this.#stage.violate('contract', `node ${from.index} dials link ${link} twice`)
    const near = new End(from, link)
    links.set(link, near)
    const to = this.#byAddress.get(address)
    const latency = to === undefined ? 1 : this.#latency(from, to)
    const fail = (afterMs: number): void => {
      this.#stage.count('link: dialling failed')
      this.#stage.plan(this.#stage.now + afterMs, () => this.#tellClosed(near))
    }
    if (to === undefined || to === from) return fail(latency)
    if (to.silent || this.#blocked(from.index, to.index) || this.#blocked(to.index, from.index)) return fail(noAnswerMs)
    this.#stage.plan(this.#stage.now + latency, () => {
      if (near.closed || near.party.life !== near.life) return
      if (to.life === 0 || to.silent) return fail(latency)
      const far = new End(to, (this.#incoming += 2))
      this.#linksOf(to).set(far.link, far)
      near.other = far
      far.other = near
      far.open = true
      const openAt = this.#stage.now + latency
      far.arrivesAt = openAt
      this.#stage.plan(openAt, () => {
        if (near.party.life !== near.life) return this.#partnerGone(far)
        if (near.closed || far.closed) return
        near.open = true
        near.party.receive({ kind: 'opened', link: near.link, outgoing: true })
      })
      to.receive({ kind: 'opened', link: far.link, outgoing: false })
    })
  }

  /** Sending on a link that is gone is no fault: the machine may not have heard of it yet. */
  send(from: Party, link: LinkId, bytes: Uint8Array): void {
    const end = this.#linksOf(from).get(link)
    if (end === undefined || !end.alive) return
    const stage = this.#stage
    const { other } = end
    const to = other.party
    this.sentMessages++
    this.sentBytes += bytes.length
    const chance = this.#chanceOf(from, to)
    const rate = this.#rate(from.index, to.index)
    const leavesAt = Math.max(stage.now, end.leftAt) + (rate === Infinity ? 0 : Math.ceil((1000 * bytes.length) / rate))
    end.leftAt = leavesAt
    if (rate !== Infinity && ((leavesAt - stage.now) * rate) / 1000 > unsentBytes) {
      stage.violate('bounds', `node ${from.index} keeps more than ${unsentBytes} bytes unsent on a slow link`)
    }
    this.#planDrained(end)
    if (end.mute || to.silent || this.#blocked(from.index, to.index)) {
      stage.count('message: into the void')
      return this.#planSilence(end)
    }
    const { loss, duplicate, reorder, garble, delayMs } = this.#weather(from.index, to.index)
    if (loss > 0 && chance.below(1000) < loss) return stage.count('message: lost')
    let arrivesAt = leavesAt + this.#latency(from, to)
    if (delayMs > 0) arrivesAt += chance.below(delayMs + 1)
    if (reorder > 0 && chance.below(1000) < reorder) {
      stage.count('message: reordered')
      arrivesAt += chance.below(200)
    } else {
      arrivesAt = Math.max(arrivesAt, end.arrivesAt)
      end.arrivesAt = arrivesAt
    }
    let said = bytes
    if (garble > 0 && chance.below(1000) < garble) {
      stage.count('message: garbled')
      said = garbled(bytes, chance)
    }
    stage.plan(arrivesAt, () => this.#deliver(other, said))
    if (duplicate > 0 && chance.below(1000) < duplicate) {
      stage.count('message: doubled')
      stage.plan(arrivesAt + chance.below(500), () => this.#deliver(other, bytes))
    }
  }

  /** Bytes that were sent from one to the other and have not left: what a socket's buffer would hold. */
  unsentBytes(from: Party, to: Party): number {
    const rate = this.#rate(from.index, to.index)
    if (rate === Infinity) return 0
    const waitsMs = this.#between(from.index, to.index).map(({ leftAt }) => Math.max(0, leftAt - this.#stage.now))
    return waitsMs.reduce((sum, ms) => sum + (ms * rate) / 1000, 0)
  }

  close(from: Party, link: LinkId): void {
    const end = this.#linksOf(from).get(link)
    if (end === undefined) return
    if (end.other !== end) this.#partnerGone(end.other)
    this.#stage.plan(this.#stage.now, () => this.#tellClosed(end))
    end.open = false
  }

  // --- what happens to nodes

  /** The process is gone; the system says so to the other ends, unless there is no system any more. */
  gone(party: Party): void {
    const links = this.#linksOf(party)
    for (const end of links.values()) {
      end.closed = true
      if (end.other !== end && !party.silent) this.#partnerGone(end.other)
    }
    links.clear()
  }

  // --- what happens to links

  weather(action: WeatherAction): void {
    this.#weathers.push({ action, until: action.at + action.forMs })
  }

  slow(action: SlowLinkAction): void {
    this.#slow.push({ action, until: action.at + action.forMs })
  }

  partition(action: PartitionAction): void {
    this.#partitions.push({ action, since: action.at, until: action.at + action.forMs })
    if (action.how !== 'reset') return
    for (const links of this.#links) {
      for (const end of links.values()) {
        if (end.other === end || action.sides[end.party.index] === action.sides[end.other.party.index]) continue
        this.#cut(end)
      }
    }
  }

  resetLinks(a: number, b: number): void {
    for (const end of this.#between(a, b)) this.#cut(end)
  }

  mute(from: number, to: number): void {
    for (const end of this.#between(from, to)) end.mute = true
  }

  heal(): void {
    this.#weathers.length = 0
    this.#slow.length = 0
    this.#partitions.length = 0
    for (const links of this.#links)
      for (const end of links.values()) end.leftAt = Math.min(end.leftAt, this.#stage.now)
  }

  // --- the rest

  #linksOf(party: Party): Map<LinkId, End> {
    return this.#links[party.index] as Map<LinkId, End>
  }

  #between(from: number, to: number): End[] {
    return [...(this.#links[from] as Map<LinkId, End>).values()].filter((end) => end.other.party.index === to)
  }

  /** A stream for each direction: leaving one fault out moves the chances of nobody else. */
  #chanceOf(from: Party, to: Party): Prng {
    const way = from.index * this.#parties.length + to.index
    let chance = this.#chances.get(way)
    if (chance === undefined) {
      this.#chances.set(way, (chance = prng(this.#seed ^ (0x5eed + 97 * from.index + to.index))))
    }
    return chance
  }

  #latency(from: Party, to: Party): number {
    const [least, most] = this.#latencyMs
    return least + this.#chanceOf(from, to).below(most - least + 1)
  }

  #deliver(end: End, bytes: Uint8Array): void {
    if (end.closed || end.cut || end.party.silent) return
    if (!end.open) return this.#stage.plan(this.#stage.now + 1, () => this.#deliver(end, bytes))
    if (end.party.life !== end.life) return this.#partnerGone(end.other)
    this.#stage.tell(
      () => `node ${end.other.party.index} -> ${end.party.index} (${end.link}): ${describePacket(bytes)}`,
    )
    end.party.receive({ kind: 'message', link: end.link, bytes })
  }

  #planDrained(end: End): void {
    if (end.drainPlanned) return
    end.drainPlanned = true
    this.#stage.plan(end.leftAt, () => {
      end.drainPlanned = false
      if (!end.alive) return
      if (end.leftAt > this.#stage.now) return this.#planDrained(end)
      end.party.receive({ kind: 'drained', link: end.link })
    })
  }

  /** Nothing that is sent is acknowledged: after a while the system gives the link up. */
  #planSilence(end: End): void {
    this.#stage.plan(this.#stage.now + silenceMs, () => {
      const { party, other } = end
      const stillDead = end.mute || other.closed || this.#blocked(party.index, other.party.index)
      if (stillDead && end.alive) this.#cut(end)
    })
  }

  #cut(end: End): void {
    this.#stage.count('link: cut')
    const { other } = end
    other.cut = true
    this.#tellClosed(end)
    if (other !== end) this.#partnerGone(other)
  }

  /** The other end of this one is closed: it hears so, unless nothing gets through. */
  #partnerGone(end: End): void {
    const { party, other } = end
    if (end.closed) return
    const silent = this.#blocked(other.party.index, party.index) || other.mute
    const atMs = this.#stage.now + (silent ? silenceMs : this.#latency(other.party, party))
    // What was sent before it was closed comes before.
    this.#stage.plan(Math.max(atMs, other.arrivesAt), () => this.#tellClosed(end))
  }

  #tellClosed(end: End): void {
    if (end.closed || end.party.life !== end.life) return
    end.closed = true
    this.#linksOf(end.party).delete(end.link)
    end.party.receive({ kind: 'closed', link: end.link })
  }

  #blocked(from: number, to: number): boolean {
    const { now } = this.#stage
    for (const { action, since, until } of this.#partitions) {
      if (now >= until) continue
      const { sides, oneWay, flapMs } = action
      if (sides[from] === sides[to] || (oneWay && sides[from] !== 0)) continue
      if (flapMs > 0 && Math.floor((now - since) / flapMs) % 2 === 1) continue
      return true
    }
    return false
  }

  #rate(from: number, to: number): number {
    let rate = Infinity
    for (const { action, until } of this.#slow) {
      if (this.#stage.now < until && action.from === from && action.to === to) rate = action.bytesPerSecond
    }
    return rate
  }

  #weather(from: number, to: number): Pick<WeatherAction, 'loss' | 'duplicate' | 'reorder' | 'garble' | 'delayMs'> {
    for (const { action, until } of this.#weathers) {
      if (this.#stage.now >= until) continue
      if ((action.from ?? from) === from && (action.to ?? to) === to) return action
    }
    return fair
  }
}

const fair = { loss: 0, duplicate: 0, reorder: 0, garble: 0, delayMs: 0 } as const

/**
 * Cut short, or noise. Single bits are left alone: packets carry no checksum of their own, since every transport that ships
 * has one, and a flipped bit in a value is a value.
 */
function garbled(bytes: Uint8Array, chance: Prng): Uint8Array {
  if (bytes.length === 0 || chance.chance(0.5)) return bytes.slice(0, chance.below(bytes.length))
  return Uint8Array.from(bytes, () => chance.below(256))
}
