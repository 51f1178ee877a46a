/**
 * Whole nodes in virtual time, in one process, from one story. Events run in the order of their time; between them
 * checkers look on. A run has phases:
 *
 *   1. faults    the story: writes, and what goes wrong
 *   2. healing   faults end, clocks are set right, whoever is down starts
 *   3. converging, for no longer than the stated time, until all replicas are equal and proven so
 *   4. checks
 *   5. everybody starts again from his disk; 3 and 4 once more
 *
 * Nothing here reads a clock or a source of chance, so a story always goes the same way, and its trace hash shows it.
 */
import { assert } from '../base/assert.ts'
import { toHex } from '../base/bytes.ts'
import { prng } from '../base/prng.ts'
import type { Prng } from '../base/prng.ts'
import { table, tablesOfSpace } from '../replica/row-keys.ts'
import type { Errand } from '../replica/errands.ts'
import type { Applied } from '../replica/replica.ts'
import type { Space } from '../replica/space.ts'
import type { NodeId } from '../wire/frame.ts'
import { Machine } from '../node/machine.ts'
import type { MachineConfig, MachineEvent } from '../node/machine.ts'
import type { Checker, Scene } from './checkers/checker.ts'
import { presenceApart, shownValue } from './checkers/presence.ts'
import { isCatchingUp, rootOf } from './checkers/equal-vectors.ts'
import type { Shadows } from './checkers/shadow.ts'
import { openCases } from './checkers/told.ts'
import { makeCheckers } from './checkers/table.ts'
import { SpaceChronicle } from './chronicle.ts'
import type { Reach } from './disk.ts'
import { Agenda } from './heap.ts'
import { Host } from './host.ts'
import type { Driven, HostStage, Life } from './host.ts'
import { Ledger } from './ledger.ts'
import { marksOf } from './marks.ts'
import { Network } from './network.ts'
import type { SimOptions } from './options.ts'
import type { Rule, Violation } from './rules.ts'
import { describe } from './story.ts'
import type { Action, CloneAction, DirectoryAction, ShowAction, Story, TwinAction, WriteAction } from './story.ts'
import { make } from './workload.ts'

/**
 * How long a healed fleet may take: until links are dialled again (at most 10 s between attempts), dead members are met
 * again, and then rounds of a second, of which a rumour needs about log2 of the nodes.
 */
export function convergenceMs(nodes: number): number {
  return 60_000 + 5_000 * Math.ceil(Math.log2(nodes + 1))
}

/** Rows whose silent loss a replica finds by itself. A lost writer row takes part of the vector along, and nothing tells. */
const silentTables = tablesOfSpace.filter((each) => each !== table.writer)
/** Of a cell in a snapshot, roughly. */
const bytesOfCell = 100
/** How often it is looked whether all are equal. */
const lookMs = 250
/** How long a fleet is watched at rest, after as much time to come to it; and what a node may send in a second. */
const restMs = 6_000
const restingBytes = 2_000
/** In how many of the steps in which a snapshot is being folded in, and in which it is on its way, somebody is killed. */
const sealedPart = 0.2
const stagedPart = 0.05
/** A run with more events than this makes no progress. */
const mostEvents = 3_000_000

export interface Outcome {
  readonly violations: readonly Violation[]
  /** How often what happened. */
  readonly counts: ReadonlyMap<string, number>
  readonly trace: number
  readonly events: number
  readonly writes: number
  /** Virtual time that passed. */
  readonly tookMs: number
  /** Virtual time from healing to being equal, the longer of the two. */
  readonly convergedMs: number
  /** What a node sends in a second when all is done. */
  readonly restingBytes: number
  readonly transcript: readonly string[]
}

export interface RunSettings {
  /** Keeps a transcript. */
  readonly verbose?: boolean
  /** Other machines than those that ship: for planting faults. */
  readonly makeMachine?: (config: MachineConfig) => Driven
  /** Other checkers beside the usual. */
  readonly checkers?: readonly ((scene: Scene) => Checker)[]
}

export class World implements HostStage, Scene {
  readonly options: SimOptions
  readonly hosts: readonly Host[]
  readonly network: Network
  readonly ledger: Ledger = new Ledger()
  readonly spaceNames: readonly string[]
  readonly violations: Violation[] = []
  readonly counts: Map<string, number> = new Map()
  now = 0
  rolledBack = false
  cloned = false
  lostAt = 0
  damaged = false
  retention: { readonly keepMs: number; readonly keepBytes: number }
  readonly #story: Story
  readonly #settings: RunSettings
  readonly #agenda = new Agenda()
  readonly #chronicles = new Map<string, SpaceChronicle>()
  /** Of the nodes that stay: those that must become equal. */
  readonly #core: readonly Host[]
  readonly #checkers: readonly Checker[]
  readonly #shadows: Shadows
  readonly #transcript: string[] = []
  #trace = 0x811c9dc5
  #events = 0
  #writes = 0
  #convergedMs = 0
  #restingBytes = 0
  #healed = false
  #ambushesLeft: number
  readonly #ambushChance: Prng

  constructor(story: Story, settings: RunSettings = {}) {
    this.#story = story
    this.#settings = settings
    this.options = story.options
    this.retention = story.options.retention
    this.#ambushesLeft = story.options.ambushes
    this.#ambushChance = prng(story.options.seed).fork(8)
    this.spaceNames = story.options.holders.map((_, index) => this.spaceName(index))
    this.hosts = Array.from({ length: this.options.nodes }, (_, index) => new Host(this, index))
    const lost = new Set(this.options.lost.map(({ node }) => node))
    this.#core = this.hosts.filter(({ index }) => !lost.has(index))
    this.network = new Network(this, this.hosts, this.options.seed, this.options.latencyMs)
    const { all, shadows } = makeCheckers(this)
    this.#shadows = shadows
    this.#checkers = [...all, ...(settings.checkers ?? []).map((makeOne) => makeOne(this))]
  }

  run(): Outcome {
    const start = prng(this.options.seed).fork(7)
    for (const host of this.hosts) this.plan(start.below(500), () => host.start())
    for (const action of this.#story.actions) this.plan(action.at, () => this.#act(action))
    this.#runUntil(this.options.faultsMs)
    this.#heal()
    this.#converge('after healing')
    this.#rest()
    this.#check()
    if (this.violations.length === 0) {
      for (const host of this.#core) this.#restart(host, true)
      this.#converge('after starting again')
      this.#check()
    }
    return {
      violations: this.violations,
      counts: this.counts,
      trace: this.#trace >>> 0,
      events: this.#events,
      writes: this.#writes,
      tookMs: this.now,
      convergedMs: this.#convergedMs,
      restingBytes: this.#restingBytes,
      transcript: this.#transcript,
    }
  }

  // --- phases

  #runUntil(until: number): void {
    const agenda = this.#agenda
    while (this.violations.length === 0 && agenda.nextAt <= until) {
      const next = agenda.next()
      if (next === undefined) break
      assert(next.at >= this.now, 'time goes on')
      this.now = next.at
      if (++this.#events > mostEvents) {
        this.violate('alive', `${mostEvents} events and no end`)
        return
      }
      next.run()
    }
    if (this.violations.length === 0) this.now = Math.max(this.now, until)
  }

  #heal(): void {
    if (this.violations.length > 0) return
    this.tell(() => 'all faults end')
    this.#healed = true
    // What a fault has left does not: links that are half open, members that are thought dead, rooms that are full.
    this.network.heal()
    this.plan(this.now, () => {
      for (const host of this.hosts) {
        host.heal()
        // A machine that was told of a later time waits for it: whoever sets a clock far back starts the node again.
        if (host.up && (this.options.restartAll || host.wentBack)) this.#restart(host, false)
        else host.start()
      }
      this.#endClones()
      this.#lose()
    })
  }

  /** The original or the copy may run, not both: whoever copied a directory sees to it in the end. */
  #endClones(): void {
    const seen = new Set<string>()
    for (const host of this.hosts) {
      const node = host.node
      if (node === undefined || !seen.has(node)) {
        if (node !== undefined) seen.add(node)
        continue
      }
      this.tell(() => `node ${host.index} is a copy of another: it starts over with nothing`)
      const before = host.disk.reach
      host.crash('kill')
      host.disk.wipe()
      this.diskLost(host, before, 'the end of a copy')
      this.plan(this.now + 1, () => host.start())
    }
  }

  /** Some are never seen again. */
  #lose(): void {
    for (const { node, how } of this.options.lost) {
      const host = this.hosts[node] as Host
      this.tell(() => `node ${node} is ${how} for ever`)
      this.count(`fault: ${how} for ever`)
      if (how === 'down') host.crash('power')
      const sides = this.hosts.map(({ index }) => (index === node ? 0 : 1))
      const always = { at: this.now, chance: 0, forMs: Infinity, how: 'hole', oneWay: true, flapMs: 0 } as const
      this.network.partition({ kind: 'partition', sides, ...always })
      // What nobody else has stays with them.
      const others = this.#core.map(({ disk }) => disk.surelyReach)
      this.ledger.diskLost(host.disk.reach, new Map(), others)
      this.ledger.nodeLost(node)
    }
  }

  #restart(host: Host, power: boolean): void {
    const keeps = host.durability === 'disk'
    host.crash(power && keeps ? 'power' : 'kill')
    this.plan(this.now + 1, () => host.start())
  }

  #converge(when: string): void {
    const since = this.now
    const until = since + convergenceMs(this.options.nodes) + this.#transferMs()
    while (this.violations.length === 0) {
      this.#runUntil(this.now + lookMs)
      const behind = this.#behind()
      if (behind === undefined) {
        this.#convergedMs = Math.max(this.#convergedMs, this.now - since)
        this.tell(() => `all are equal, ${this.now - since} ms ${when}`)
        return
      }
      if (this.now < until) continue
      this.violate('converges', `${when}, ${until - since} ms did not suffice: ${behind}`)
    }
  }

  /** What it may take to bring a node all cells of the largest space, twice: some worlds have windows of a few cells. */
  #transferMs(): number {
    const { bounds, latencyMs, syncMs } = this.options
    if (bounds.windowBytes === undefined) return 0
    const siblings = this.hosts.flatMap(
      ({ replica }) => replica?.spaces.map(({ tree }) => tree.root[4] as number) ?? [],
    )
    const windows = (Math.max(0, ...siblings) * bytesOfCell) / bounds.windowBytes
    return Math.ceil(2 * windows * (2 * latencyMs[1] + syncMs[1]))
  }

  /**
   * At rest a fleet says little, however much it holds: pings, greetings, and now and then what the disks have. A session
   * that finds nothing to do, again and again, would show here.
   */
  #rest(): void {
    // Whoever was met last is told what disks have, who waits for what: that may take a while yet.
    this.#runUntil(this.now + restMs)
    const before = this.network.sentBytes
    const written = this.counts.get('delta: own')
    const since = this.now
    this.#runUntil(this.now + restMs)
    if (this.violations.length > 0 || this.counts.get('delta: own') !== written) return
    const rate = (this.network.sentBytes - before) / this.hosts.length / ((this.now - since) / 1000)
    this.#restingBytes = Math.max(this.#restingBytes, rate)
    if (rate > restingBytes) {
      this.violate('rest', `at rest each node sends ${Math.round(rate)} bytes a second, more than ${restingBytes}`)
    }
  }

  /** Who is not there yet; undefined when all replicas are equal and on disk. */
  #behind(): string | undefined {
    for (const host of this.#core) {
      if (!host.up) return `node ${host.index} is down`
      if (!host.settled) return `node ${host.index} has rows that wait for the disk`
      const { conflicts, replica } = (host.current as Life).machine
      const found = replica.spaces.some((space) => (conflicts?.pending(space).length ?? 0) > 0)
      if (found) return `node ${host.index} has found what is on no record`
    }
    for (const host of this.#core) {
      for (const other of this.#core) {
        const members = host.current?.machine.membership
        if (host === other || members === undefined) continue
        const state = members.member(other.node as NodeId)?.state
        if (state === 'alive' || state === 'suspect') continue
        return `node ${host.index} takes node ${other.index} for ${state ?? 'nobody'}`
      }
    }
    for (const name of this.spaceNames) {
      const [first, ...others] = this.holders(name)
      // A space that nobody wrote in is there only for who opened it.
      if (this.holders(name).every(({ replica }) => (replica?.find(name)?.vector.size ?? 0) === 0)) continue
      const one = first?.replica?.find(name)
      if (first === undefined || one === undefined) return `node ${first?.index} has no ${name}`
      for (const host of [first, ...others]) {
        const other = host.replica?.find(name)
        if (other === undefined) return `node ${host.index} has no ${name}`
        if (other.id !== one.id) return `${name}: node ${host.index} is in another generation than node ${first.index}`
        if (isCatchingUp(other)) return `node ${host.index} is catching up in ${name}`
        for (const origin of [...one.vector.keys(), ...other.vector.keys()]) {
          const [a, b] = [one.vector.get(origin) ?? 0, other.vector.get(origin) ?? 0]
          if (a === b) continue
          return `${name}: of ${origin.slice(16)} node ${first.index} has ${a} and node ${host.index} ${b}`
        }
        if (toHex(one.contextDigest()) !== toHex(other.contextDigest())) {
          return `${name}: nodes ${first.index} and ${host.index} have the same vector with other histories`
        }
        const apart = presenceApart(first, host, name) ?? presenceApart(host, first, name)
        if (apart !== undefined) return apart
        if (rootOf(one) !== rootOf(other)) return `${name}: the roots of nodes ${first.index} and ${host.index} differ`
      }
    }
    const untold = this.options.rules && this.options.tells ? this.#untold() : undefined
    return untold === undefined ? undefined : `nobody was told of conflict ${untold.slice(0, 8)}`
  }

  #untold(): string | undefined {
    for (const name of this.spaceNames) {
      const [host] = this.holders(name)
      if (host === undefined) continue
      for (const { known, handling } of openCases(host, name)) {
        if (!handling.notices.some(({ state }) => state === 'done')) return known.id
      }
    }
    return undefined
  }

  #check(): void {
    if (this.violations.length > 0) return
    for (const checker of this.#checkers) checker.quiet?.()
  }

  // --- the story

  #act(action: Action): void {
    this.#mix(action.at, action.chance)
    if (action.kind !== 'write' && action.kind !== 'show') {
      this.tell(() => describe(action))
      this.count(`fault: ${action.kind}${action.kind === 'crash' ? ` (${action.how})` : ''}`)
    }
    switch (action.kind) {
      case 'write': {
        const host = this.hosts[action.node] as Host
        return this.#write(action, host)
      }
      case 'show':
        return this.#show(action, this.hosts[action.node] as Host)
      case 'crash': {
        const host = this.hosts[action.node] as Host
        const again = (): void => this.plan(this.now + action.forMs, () => host.start())
        if (action.how === 'stop') return host.stop(again)
        host.crash(action.how)
        return again()
      }
      case 'freeze':
        return (this.hosts[action.node] as Host).freeze(action.forMs)
      case 'clock':
        ;(this.hosts[action.node] as Host).offsetMs += action.byMs
        return
      case 'partition':
        return this.network.partition(action)
      case 'weather':
        return this.network.weather(action)
      case 'slow-link':
        return this.network.slow(action)
      case 'reset-links':
        return this.network.resetLinks(action.from, action.to)
      case 'half-open':
        return this.network.mute(action.from, action.to)
      case 'disk-full':
        ;(this.hosts[action.node] as Host).disk.fullUntil = this.now + action.forMs
        return
      case 'disk-slow': {
        const { disk } = this.hosts[action.node] as Host
        disk.slowUntil = this.now + action.forMs
        disk.slowMs = 50 + (action.chance % 2_000)
        return
      }
      case 'delete-space':
        return this.#deleteSpace(this.hosts[action.node] as Host, this.spaceName(action.space))
      case 'backup':
        return (this.hosts[action.node] as Host).disk.backUp()
      case 'restore':
      case 'wipe':
      case 'clone':
        return this.#replaceDirectory(action)
      case 'twin':
        return this.#clone(action)
      case 'vanish':
      case 'unreadable': {
        const { disk } = this.hosts[action.node] as Host
        if (disk.damage(action.kind, action.kind === 'vanish' ? silentTables : tablesOfSpace, prng(action.chance))) {
          this.rolledBack = true
          this.damaged = true
        }
      }
    }
  }

  #write(action: WriteAction, host: Host): void {
    if (!host.up || this.now < host.frozenUntil) return this.count('write: nobody there')
    if (this.now < host.disk.fullUntil) return this.count('write: refused, the disk is full')
    const attempt = make(action, host, this.spaceName(action.space), this.options)
    if (attempt === undefined) return
    if ('refused' in attempt) {
      this.count(`write: ${attempt.refused}`)
      const space = host.replica?.find(this.spaceName(action.space))
      if (attempt.refused !== 'budget_exceeded' || space === undefined || typeof attempt.key !== 'string') return
      return host.askRights(space, attempt.key)
    }
    if (attempt.dot === undefined) return this.count('write: changed nothing')
    this.#writes++
    this.count('write: made')
    const { dot, told } = attempt
    this.tell(() => `node ${host.index} writes ${dot.origin.slice(16)}-${dot.seq}: ${told}`)
    this.ledger.wrote(attempt)
    for (const { key, fence, above } of attempt.fences) {
      if (fence <= above) this.violate('fence', `node ${host.index}: ${key} was given under fence ${fence} again`)
    }
    host.receive({ kind: 'local' })
  }

  #show({ agent, chance, space: index, ttlMs }: ShowAction, host: Host): void {
    const space = host.replica?.find(this.spaceName(index))
    if (space === undefined || this.now < host.frozenUntil) return
    const value = ttlMs === 0 ? new Uint8Array(0) : shownValue(chance)
    host.receive({ kind: 'show', shown: { kind: 'set', space: space.id, agent, value, ttlMs } })
  }

  #deleteSpace(host: Host, name: string): void {
    const space = host.replica?.find(name)
    if (space === undefined || this.now < host.frozenUntil) return
    this.ledger.spaceDeleted(space.id)
    host.deleteSpace(name)
  }

  #replaceDirectory(action: DirectoryAction | CloneAction): void {
    const host = this.hosts[action.kind === 'clone' ? action.to : action.node] as Host
    const before = host.disk.reach
    const source = action.kind === 'clone' ? (this.hosts[action.from] as Host) : undefined
    if (source !== undefined && (source.disk.size === 0 || source.disk.damaged)) return
    host.crash('kill')
    if (source !== undefined) {
      // The copy may take the original's rights for those of an earlier life of its own.
      this.rolledBack = true
      host.disk.copyOf(source.disk)
    } else if (action.kind === 'wipe') host.disk.wipe()
    else if (host.disk.restore()) {
      // Alone it takes over the rights of its earlier life at once, and does not know what that spent since.
      this.rolledBack = true
    } else this.count('fault: there was no backup')
    this.diskLost(host, before, action.kind)
    this.plan(this.now + 100, () => host.start())
  }

  #clone({ from, to }: TwinAction): void {
    const [source, host] = [this.hosts[from], this.hosts[to]] as [Host, Host]
    const incarnation = source.replica?.origin.slice(16)
    if (incarnation === undefined || source.disk.damaged || source.node === host.node) return
    const before = host.disk.reach
    host.crash('kill')
    host.disk.copyOf(source.disk)
    this.diskLost(host, before, 'twin')
    this.cloned = true
    this.rolledBack = true
    host.start(incarnation)
  }

  // --- what hosts ask of their stage

  plan(at: number, run: () => void): void {
    this.#agenda.plan(Math.max(at, this.now), run)
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  violate(rule: Rule, what: string): void {
    this.violations.push({ rule, what, at: this.now })
    this.tell(() => `VIOLATION [${rule}] ${what}`)
  }

  tell(what: () => string): void {
    if (this.#settings.verbose === true) this.#transcript.push(`${String(this.now).padStart(8)}  ${what()}`)
  }

  makeMachine(config: MachineConfig): Driven {
    return this.#settings.makeMachine?.(config) ?? new Machine(config)
  }

  spaceName(index: number): string {
    return `space-${index}`
  }

  holders(name: string): Host[] {
    const nodes = this.options.holders[this.spaceNames.indexOf(name)] ?? []
    // A directory that was copied brings the spaces of the other along.
    return this.#core.filter(({ index, replica }) => nodes.includes(index) || replica?.find(name) !== undefined)
  }

  chronicle({ id, name }: Space): SpaceChronicle {
    let chronicle = this.#chronicles.get(id)
    if (chronicle === undefined) this.#chronicles.set(id, (chronicle = new SpaceChronicle(name)))
    return chronicle
  }

  applied(host: Host, life: Life, event: Applied): void {
    const { space, delta, own } = event
    const body = space.logs.get(delta.origin)?.entry(delta.seq)?.body as Uint8Array
    this.#mix(host.index, delta.seq)
    this.#mix(space.tree.root[0] as number, body.length)
    this.count(own ? 'delta: own' : 'delta: received')
    for (const checker of this.#checkers) checker.applied?.(host, life, event, body)
    if (!own) this.tell(() => `node ${host.index} applies ${delta.origin.slice(16)}-${delta.seq} in ${space.name}`)
  }

  rosterOf(host: Host): readonly NodeId[] {
    const nodes = this.hosts.flatMap(({ node }) => (node === undefined ? [] : [node as NodeId]))
    return [...new Set(nodes)].filter((node) => node !== host.node)
  }

  opened(host: Host, life: Life): void {
    // Whoever runs the fleet lists a node once it is there, and strikes one off that is wiped.
    for (const other of this.hosts) if (other.replica !== undefined) other.replica.cut.roster = this.rosterOf(other)
    this.#mix(host.index, life.number)
    this.count('node: started')
    for (const checker of this.#checkers) checker.opened?.(host, life)
  }

  told(host: Host, errand: Errand): void {
    this.count(`conflict: told by ${errand.kind}`)
    for (const checker of this.#checkers) checker.told?.(host, errand)
  }

  event(host: Host, event: MachineEvent): void {
    this.tell(
      () =>
        `node ${host.index} tells ${JSON.stringify(event, (name, value: unknown) => (name === 'space' && typeof value === 'object' ? (value as { name: string }).name : value))}`,
    )
    for (const mark of marksOf(event)) this.count(mark)
    for (const checker of this.#checkers) checker.event?.(host, event)
    if (event.kind === 'sync' && event.event.kind === 'integrity' && event.event.peer === undefined) host.unsound()
    if (event.kind === 'failed' && event.code === 'store_damaged' && host.disk.damaged) host.setAside()
    if (host.current === undefined || event.kind !== 'session' || event.report.step !== 'adopting') return
    this.#shadows.gap(host, host.current, event.report.space)
  }

  accused(host: Host, code: string, what: string): void {
    this.count(`peer fault: ${code}`)
    for (const checker of this.#checkers) checker.accused?.(host, code, what)
  }

  diskLost(host: Host, before: Reach, why: string): void {
    this.lostAt = this.now
    const others = this.hosts.filter((other) => other !== host).map(({ disk }) => disk.surelyReach)
    const excused = this.ledger.diskLost(before, host.disk.surelyReach, others)
    if (excused > 0) this.tell(() => `node ${host.index} had the last copy of ${excused} acknowledged writes (${why})`)
  }

  stored(host: Host, batch: number): void {
    this.#mix(host.index, batch)
    this.ledger.stored(host.index, host.life, batch)
    for (const checker of this.#checkers) checker.stored?.(host)
  }

  stepped(host: Host, life: Life): void {
    this.#mix(host.index, this.now)
    for (const checker of this.#checkers) checker.stepped?.(host, life)
    this.#ambush(host, life)
  }

  /** Kills a node in the midst of taking a snapshot over, or one of the others, who may be the one that gives it. */
  #ambush(host: Host, life: Life): void {
    if (this.#ambushesLeft === 0 || this.#healed) return
    const { spaces } = life.machine.replica
    const isSealed = spaces.some(({ adoption }) => adoption !== undefined)
    if (!isSealed && !spaces.some(({ staging }) => staging !== undefined)) return
    const chance = this.#ambushChance
    if (!chance.chance(isSealed ? sealedPart : stagedPart)) return
    this.#ambushesLeft--
    const victim = chance.chance(0.75) ? host : chance.pick(this.hosts)
    const how = chance.pick(['kill', 'power'] as const)
    const forMs = 1 + chance.below(chance.pick([200, 3_000]))
    this.plan(this.now, () => {
      this.tell(() => `node ${victim.index}: ${how} amid a snapshot, down for ${forMs} ms`)
      this.count('fault: crash amid a snapshot')
      victim.crash(how)
      this.plan(this.now + forMs, () => victim.start())
    })
  }

  sent(host: Host, life: Life, bytes: Uint8Array): void {
    for (const checker of this.#checkers) checker.sent?.(host, life, bytes)
  }

  get healed(): boolean {
    return this.#healed
  }

  /** Takes two numbers into the trace. FNV-1a over words. */
  #mix(a: number, b: number): void {
    this.#trace = Math.imul(this.#trace ^ a, 0x01000193)
    this.#trace = Math.imul(this.#trace ^ b, 0x01000193)
  }
}

export function runStory(story: Story, settings: RunSettings = {}): Outcome {
  return new World(story, settings).run()
}
