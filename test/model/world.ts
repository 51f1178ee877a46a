/**
 * A few nodes and what may happen to them next: every step that is open in a world, by a name that a person can read.
 * A scope bounds it: what each node will write, and how often each mishap may strike.
 */
import { typeOf } from '../../src/crdt/types/table.ts'
import { covers } from '../../src/crdt/dot.ts'
import { byKey, emptyImage, keyOf, rotted } from './image.ts'
import type { Entry, Image, Operation } from './image.ts'
import { dotName, nodeName, originName, Protocol } from './model.ts'
import type { Fault, Node } from './model.ts'

/** What can strike, or is chosen by an operator; each is counted down. */
export type Mishap = 'crash' | 'restore' | 'clone disk' | 'clone memory' | 'rot' | 'part' | 'prune' | 'target' | 'tell'

export interface Scope {
  readonly title: string
  /** What each node writes, in this order: `add s x`, `incr c 2`, `spend b 1`, `give b 1 to b`. */
  readonly programs: Readonly<Record<string, readonly string[]>>
  readonly mishaps: Partial<Readonly<Record<Mishap, number>>>
  /** Deltas are also pushed, and so come late, twice, in any order, and when their writer is gone. */
  readonly pushed?: boolean
  /** Every step is on disk at once: for scopes that are not about losing it. */
  readonly stored?: boolean
  /** Nobody waits for anybody: the rosters hold only their owners. */
  readonly alone?: boolean
  /** Who holds nothing may take the cells of somebody who could give him the log. */
  readonly newcomers?: boolean
  readonly fault?: Fault | undefined
}

export interface World {
  readonly nodes: ReadonlyMap<string, Node>
  /** Everything that was ever written: what the network may still carry, and what the checks know. */
  readonly entries: readonly Entry[]
  readonly left: Readonly<Record<string, number>>
  /** How far each node's program has come. */
  readonly written: Readonly<Record<string, number>>
  /** Incarnations given out, by node. */
  readonly incarnations: Readonly<Record<string, number>>
  readonly restored: boolean
  readonly forked: boolean
}

export interface Step {
  readonly name: string
  readonly take: () => World
}

export function worldOf({ programs, mishaps, alone }: Scope): World {
  const names = Object.keys(programs).filter((name) => name === name.toLowerCase())
  const nodes = new Map<string, Node>()
  for (const name of names) {
    const image = emptyImage(alone === true ? [name] : names)
    const images = { live: image, disk: image, backup: image }
    nodes.set(name, { name, origin: undefined, process: 1, ...images, waiting: [], promised: new Map() })
  }
  const none = { written: {}, incarnations: {}, restored: false, forked: false }
  return { nodes, entries: [], left: { ...mishaps }, ...none }
}

export class Model {
  readonly scope: Scope
  readonly protocol: Protocol

  constructor(scope: Scope) {
    this.scope = scope
    this.protocol = new Protocol(scope.fault)
  }

  /** Every step that is open; a name stands for one step. */
  steps(world: World): Step[] {
    const steps: Step[] = []
    const add = (name: string, take: () => World): void => {
      steps.push({ name, take })
    }
    const { protocol, scope } = this
    const left = (mishap: Mishap): boolean => (world.left[mishap] ?? 0) > 0
    for (const node of world.nodes.values()) {
      const { name, live } = node
      const others = [...world.nodes.values()].filter((other) => other !== node)
      const line = scope.programs[name]?.[world.written[name] ?? 0]
      const made =
        line === undefined ? undefined : protocol.write(node, this.#operation(world, line), fresh(world, node))
      if (made !== undefined) {
        add(`${name} writes ${line}`, () => {
          const written = { ...world.written, [name]: (world.written[name] ?? 0) + 1 }
          return this.#put({ ...withEntry(world, node, made.entry), written }, made.node)
        })
      }
      if (node.disk !== live) add(`${name} stores`, () => with_(world, protocol.store(node)))
      if (scope.pushed === true) {
        for (const entry of world.entries) {
          if (covers(live.state.vector, entry.delta) || !this.#sent(world, entry)) continue
          const next = protocol.receive(node, entry)
          if (next !== node) add(`${name} gets ${dotName(entry.delta)}`, () => this.#put(world, next))
        }
      }
      for (const other of others) {
        const entry = scope.pushed === true ? undefined : protocol.nextOf(other, node)
        if (entry !== undefined) {
          add(`${name} pulls ${dotName(entry.delta)} from ${other.name}`, () =>
            this.#put(world, protocol.pull(node, other, entry)),
          )
        }
        const met = protocol.meet(node, other)
        if (met !== node) add(`${name} closes a fork with ${other.name}`, () => this.#put(world, met))
        const replaces = protocol.mustReadopt(node, other)
        const isNew = scope.newcomers === true && live.state.vector.size === 0
        const wanted = replaces || (left('target') && (isNew || protocol.isBelowLog(node, other)))
        const aimed = wanted && live.target === undefined ? protocol.aim(node, other, replaces) : undefined
        if (aimed !== undefined) {
          const verb = replaces ? 're-adopt from' : 'catch up with'
          add(`${name} starts to ${verb} ${other.name}`, () =>
            this.#put(spend(world, replaces ? [] : ['target']), aimed),
          )
        }
      }
      this.#addTarget(world, node, add)
      const told = left('tell') ? protocol.acknowledge(node, others) : []
      if (told.some((one) => keyOf(one.live) !== keyOf((world.nodes.get(one.name) as Node).live))) {
        add(`${name} tells what its disk has`, () =>
          told.reduce((so, one) => this.#put(so, one), spend(world, ['tell'])),
        )
      }
      const pruned = left('prune') ? protocol.prune(node) : node
      if (pruned.live.log.length < live.log.length) {
        add(`${name} prunes`, () => this.#put(spend(world, ['prune']), pruned))
      }
      this.#addMishaps(world, node, others, add)
    }
    return steps
  }

  #addTarget(world: World, node: Node, add: (name: string, take: () => World) => void): void {
    const { live, name } = node
    const { target } = live
    if (target === undefined) return
    const sender = world.nodes.get(target.from) as Node
    const staged = this.protocol.stage(node, sender)
    if (staged !== undefined) {
      const key = target.differing.find((one) => !target.staged.has(one)) ?? ''
      add(`${name} takes in ${key} from ${target.from}`, () => this.#put(world, staged))
    } else if (
      sender.process !== target.process ||
      this.scope.fault === 'a risen target keeps what was staged before'
    ) {
      for (const other of world.nodes.values()) {
        const aimed = other.name === name ? undefined : this.protocol.aim(node, other, target.replaces)
        if (aimed !== undefined) add(`${name} turns to ${other.name}`, () => this.#put(world, aimed))
      }
    }
    const done = this.protocol.commit(node, fresh(world, node))
    if (done === undefined) return
    const verb = target.replaces ? 're-adopts' : 'merges'
    add(`${name} ${verb} what ${target.from} had`, () => {
      return this.#put(done.entry === undefined ? world : withEntry(world, node, done.entry), done.node)
    })
  }

  #addMishaps(world: World, node: Node, others: readonly Node[], add: (name: string, take: () => World) => void): void {
    const { live, name } = node
    const left = (mishap: Mishap): boolean => (world.left[mishap] ?? 0) > 0
    if (left('crash')) {
      add(`${name} crashes`, () => with_(spend(world, ['crash']), this.protocol.crash(node)))
    }
    if (left('restore') && node.backup !== node.disk) {
      add(`${name} comes back from a backup`, () => {
        return { ...with_(spend(world, ['restore']), this.protocol.restore(node)), restored: true }
      })
    }
    const clone = name.toUpperCase()
    if (name !== clone && !world.nodes.has(clone)) {
      const copy = { ...node, name: clone, process: 1, waiting: [], promised: new Map() }
      if (left('clone disk') && seqSum(node.disk) > 0) {
        add(`the disk of ${name} is cloned`, () => {
          const opened = { ...copy, origin: undefined, live: node.disk }
          return { ...with_(spend(world, ['clone disk']), opened), restored: true }
        })
      }
      if (left('clone memory') && node.origin !== undefined) {
        add(`the memory of ${name} is cloned`, () => {
          return { ...with_(spend(world, ['clone memory']), copy), restored: true, forked: true }
        })
      }
    }
    if (left('rot')) {
      for (const [key, type, path, siblings] of live.state.cells()) {
        for (const sibling of siblings) {
          add(`${name} loses ${dotName(sibling)} of ${key} to rot`, () => {
            const image = rotted(live, key, type, path, sibling)
            return with_(spend(world, ['rot']), { ...node, live: image, disk: image })
          })
        }
      }
    }
    if (left('part')) {
      for (const other of others) {
        if (!live.roster.has(nodeName(other)) || name > other.name) continue
        add(`${name} and ${other.name} exclude each other`, () => {
          const parted = this.#put(spend(world, ['part']), without(node, other))
          return this.#put(parted, without(other, node))
        })
      }
    }
  }

  #put(world: World, node: Node): World {
    const late = this.scope.stored === true && node.disk !== node.live
    return with_(world, late ? this.protocol.store(node) : node)
  }

  #sent(world: World, entry: Entry): boolean {
    const guarded = [...world.nodes.values()].some((node) => !this.protocol.mayLeave(node, entry))
    return !guarded || [...world.nodes.values()].some(({ disk }) => covers(disk.state.vector, entry.delta))
  }

  #operation(world: World, line: string): Operation {
    const [name = '', key = '', value = '', , to = ''] = line.split(' ')
    switch (name) {
      case 'add':
      case 'remove':
        return { key, type: 'set', name, args: { values: [value] } }
      case 'incr':
        return { key, type: 'counter', name, args: { by: Number(value) } }
      case 'set':
        return { key, type: 'record', name, args: { fields: { field: value } } }
      case 'acquire':
        return { key, type: 'claim', name, args: { ttlMs: 1 } }
      case 'grant':
      case 'spend':
        return { key, type: 'budget', name, args: { amount: Number(value) } }
      case 'give': {
        const origin = world.nodes.get(to)?.origin ?? ''
        return { key, type: 'budget', name: 'transfer', args: { to: origin, amount: Number(value) } }
      }
      default:
        throw new Error(`no operation in ${line}`)
    }
  }

  // --- settling ---------------------------------------------------------------------------------------------------

  /** All mishaps over and everybody in touch: what a fleet must come to by itself. */
  settled(world: World): World {
    let now = { ...world, left: {} as Record<string, number> }
    for (let round = 0; round < 12; round++) {
      const before = keyOfWorld(now)
      for (const name of now.nodes.keys()) {
        now = with_(now, this.protocol.store(now.nodes.get(name) as Node))
        for (const other of now.nodes.keys()) if (other !== name) now = this.#talk(now, name, other)
      }
      if (keyOfWorld(now) === before) break
    }
    return now
  }

  /** A target that stood is dropped: its sender may be gone, and whoever needs one finds that out again. */
  #talk(world: World, name: string, from: string): World {
    const { protocol } = this
    const sender = world.nodes.get(from) as Node
    let node = protocol.meet(dropped(world.nodes.get(name) as Node), sender)
    for (let entry = protocol.nextOf(sender, node); entry !== undefined; entry = protocol.nextOf(sender, node)) {
      node = protocol.pull(node, sender, entry)
    }
    const replaces = protocol.mustReadopt(node, sender)
    let aimed = replaces || protocol.isBelowLog(node, sender) ? protocol.aim(node, sender, replaces) : undefined
    for (let next = aimed; next !== undefined; next = protocol.stage(next, sender)) aimed = next
    const done = aimed && protocol.commit(aimed, fresh(world, node))
    if (done === undefined) return with_(world, protocol.store(node))
    const entries = done.entry === undefined ? world : withEntry(world, node, done.entry)
    return with_(entries, protocol.store(done.node))
  }
}

function dropped(node: Node): Node {
  return { ...node, live: { ...node.live, target: undefined } }
}

function with_(world: World, node: Node): World {
  return { ...world, nodes: new Map(world.nodes).set(node.name, node) }
}

function without(node: Node, other: Node): Node {
  const roster = new Set([...node.live.roster].filter((member) => member !== nodeName(other)))
  return { ...node, live: { ...node.live, roster } }
}

function spend(world: World, mishaps: readonly Mishap[]): World {
  const left = { ...world.left }
  for (const mishap of mishaps) left[mishap] = (left[mishap] ?? 0) - 1
  return { ...world, left }
}

/** 64 random bits in the real node; here the next number, so that equal histories are equal. */
function fresh(world: World, node: Node): number {
  return (world.incarnations[nodeName(node)] ?? 0) + 1
}

function withEntry(world: World, node: Node, entry: Entry): World {
  const number = parseInt(entry.delta.origin.slice(16), 16)
  const name = nodeName(node)
  const incarnations = { ...world.incarnations, [name]: Math.max(world.incarnations[name] ?? 0, number) }
  return { ...world, incarnations, entries: [...world.entries, entry] }
}

function seqSum({ state }: Image): number {
  return [...state.vector.values()].reduce((sum, seq) => sum + seq, 0)
}

const ids = new Map<string, number>()

function idOf(entry: Entry): number {
  const id = ids.get(entry.after) ?? ids.size
  ids.set(entry.after, id)
  return id
}

const ascending = (a: number, b: number): number => a - b

export function keyOfWorld(world: World): string {
  const nodes = [...world.nodes.values()].map((node) => {
    const { name, origin, process, live, disk, backup, waiting, promised } = node
    const images = [live, disk, (world.left['restore'] ?? 0) > 0 ? backup : live].map(keyOf)
    return [name, origin, process, ...images, waiting.map(idOf).sort(ascending), [...promised].sort(byKey)]
  })
  const { entries, left, written, incarnations, restored } = world
  return JSON.stringify([nodes, entries.map(idOf).sort(ascending), left, written, incarnations, restored])
}

// --- telling ------------------------------------------------------------------------------------------------------

/** What a node reads, and at which vector. */
export function tell({ name, live, waiting }: Node): string {
  const values = live.state.keys().map((key) => `${key}=${JSON.stringify(valueOf(live, key))}`)
  const vector = [...live.state.vector].filter(([, seq]) => seq > 0).sort(byKey)
  const seen = vector.map(([origin, seq]) => originName(origin) + ':' + seq + (live.closed.has(origin) ? '!' : ''))
  const notes = [
    ...(live.target === undefined ? [] : ['catching up']),
    ...(live.rotten.length === 0 ? [] : ['rotten']),
    ...waiting.map(({ delta }) => `waits with ${dotName(delta)}`),
  ]
  return `${name}(${seen.join(' ')}) ${values.join(' ')}${notes.length === 0 ? '' : ` [${notes.join(', ')}]`}`.trimEnd()
}

export function valueOf(image: Image, key: string): unknown {
  const entry = image.state.entry(key)
  const [id] = entry.types()
  const type = id === undefined ? undefined : typeOf(id)
  if (type === undefined) return undefined
  const { value } = type.read(entry.cells(type.id))
  if (type.name === 'budget') {
    const { granted, spent, overspent } = value as Readonly<Record<string, unknown>>
    return { granted, spent, overspent }
  }
  return type.name === 'claim' ? (value as { fence: number }).fence : value
}

/** Are all these nodes where their origins' chains say the same? Then their cells must be. */
export function contextOf({ state, heads }: Image): string {
  const origins = [...state.vector].filter(([, seq]) => seq > 0).sort(byKey)
  return origins.map(([origin, seq]) => `${originName(origin)}:${seq}:${heads.get(origin)}`).join(' ')
}
