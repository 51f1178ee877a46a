/**
 * Every order of steps within a scope, breadth first, each world once: what is found first is shortest. At each world
 * the invariants of the design are checked against a definition that has no protocol in it, and the fleet, left to
 * itself from there on, must agree.
 */
import { covers } from '../../src/crdt/dot.ts'
import { State } from '../../src/crdt/state.ts'
import { counter } from '../../src/crdt/types/counter.ts'
import { seqOf, textOf } from './image.ts'
import type { Entry, Image } from './image.ts'
import { dotName } from './model.ts'
import { contextOf, keyOfWorld, Model, tell, valueOf, worldOf } from './world.ts'
import type { Scope, World } from './world.ts'

export interface Outcome {
  readonly states: number
  /** Longest path that was walked. */
  readonly depth: number
  /** All worlds of the scope were seen. */
  readonly whole: boolean
  readonly violation: string | undefined
  /** The shortest way there, step by step, with what every node then holds. */
  readonly transcript: readonly string[]
}

export interface Bounds {
  readonly depth: number
  readonly states: number
  /** Settle from every so-manieth world. */
  readonly settleEvery: number
}

interface Way {
  readonly from: Way | undefined
  readonly step: string
  readonly depth: number
}

export function explore(scope: Scope, { depth, states, settleEvery }: Bounds): Outcome {
  const model = new Model(scope)
  const checks = new Checks()
  const start = worldOf(scope)
  const seen = new Set([keyOfWorld(start)])
  let layer: (readonly [World, Way])[] = [[start, { from: undefined, step: '', depth: 0 }]]
  let deepest = 0
  while (layer.length > 0 && deepest < depth) {
    deepest++
    const next: typeof layer = []
    for (const [world, way] of layer) {
      for (const { name, take } of model.steps(world)) {
        const after = take()
        const key = keyOfWorld(after)
        if (seen.has(key)) continue
        seen.add(key)
        const here: Way = { from: way, step: name, depth: deepest }
        let violation = checks.step(world, after) ?? checks.world(after)
        if (violation === undefined && seen.size % settleEvery === 0) {
          const settled = model.settled(after)
          violation = checks.world(settled) ?? checks.agreement(settled) ?? checks.kept(after, settled)
        }
        if (violation !== undefined) {
          return {
            states: seen.size,
            depth: deepest,
            whole: false,
            violation,
            transcript: replay(model, stepsOf(here)),
          }
        }
        if (seen.size >= states) return { states: seen.size, depth: deepest, whole: false, violation, transcript: [] }
        next.push([after, here])
      }
    }
    layer = next
  }
  return { states: seen.size, depth: deepest, whole: layer.length === 0, violation: undefined, transcript: [] }
}

function stepsOf(way: Way): string[] {
  const steps: string[] = []
  for (let at: Way | undefined = way; at?.from !== undefined; at = at.from) steps.unshift(at.step)
  return steps
}

/** Takes the named steps, each of which must be open, and tells what that changed. */
export function replay(model: Model, steps: readonly string[]): string[] {
  const lines: string[] = []
  const told = new Map<string, string>()
  let world = worldOf(model.scope)
  for (const step of steps) {
    world = taken(model, world, step)
    lines.push(step)
    for (const [name, node] of world.nodes) {
      const line = tell(node)
      if (told.get(name) !== line) lines.push(`    ${line}`)
      told.set(name, line)
    }
  }
  return lines
}

export function taken(model: Model, world: World, name: string): World {
  const open = model.steps(world)
  const step = open.find((one) => one.name === name)
  if (step === undefined) throw new Error(`"${name}" is not open; open are:\n${open.map((one) => one.name).join('\n')}`)
  return step.take()
}

/** The invariants of docs/SPEC.md and the design, numbered as there. Each answers what is wrong, or nothing. */
export class Checks {
  readonly #expected = new Map<string, { readonly text: string; readonly sums: ReadonlyMap<string, number> }>()

  world(world: World): string | undefined {
    return (
      this.#oneDot(world) ?? this.#promises(world) ?? this.#causes(world) ?? this.#cells(world) ?? this.#budget(world)
    )
  }

  /** 3: a dot is never used twice; where memory was cloned, the fork is settled instead. */
  #oneDot({ entries, forked }: World): string | undefined {
    const last = entries.at(-1)
    if (last === undefined || forked) return undefined
    const twin = entries.find((one) => one !== last && dotName(one.delta) === dotName(last.delta))
    return twin && `${dotName(last.delta)} names two deltas`
  }

  /** 1: what a disk has acknowledged is there as long as that disk is. */
  #promises({ nodes }: World): string | undefined {
    for (const { name, live, promised } of nodes.values()) {
      for (const [origin, seq] of promised) {
        if (seqOf(live.state.vector, origin) >= seq || live.closed.has(origin)) continue
        return `${name} has acknowledged ${dotName({ origin, seq })} and lost it`
      }
    }
    return undefined
  }

  /** 5: no effect without its cause. */
  #causes({ nodes }: World): string | undefined {
    for (const { name, live } of nodes.values()) {
      for (const { delta } of live.log) {
        if (!covers(live.state.vector, delta)) continue
        const missing = delta.context.find((dot) => !covers(live.state.vector, dot) && !live.closed.has(dot.origin))
        if (missing !== undefined) return `${name} shows ${dotName(delta)} without its cause ${dotName(missing)}`
      }
    }
    return undefined
  }

  /** 2 and 4: the cells are what the vector says, nothing else decides; so equal vectors have equal roots. */
  #cells({ nodes, entries, forked }: World): string | undefined {
    const byContext = new Map<string, { readonly name: string; readonly live: Image }>()
    for (const { name, live } of nodes.values()) {
      if (live.rotten.length > 0) continue
      const context = contextOf(live)
      const twin = byContext.get(context)
      const text = textOf(live.state)
      if (twin === undefined) byContext.set(context, { name, live })
      else if (text !== textOf(twin.live.state)) {
        return `${twin.name} and ${name} have equal vectors and other cells`
      }
      if (forked) continue
      const expected = this.#expectedAt(context, live, entries)
      if (text !== expected.text) return `the cells of ${name} are not what its vector says`
      for (const [key, sum] of expected.sums) {
        if (valueOf(live, key) !== sum) return `the counter ${key} of ${name} is not ${sum}`
      }
    }
    return undefined
  }

  /** All deltas up to a vector, and no protocol. */
  #expectedAt(
    context: string,
    { state: { vector } }: Image,
    entries: readonly Entry[],
  ): { readonly text: string; readonly sums: ReadonlyMap<string, number> } {
    let found = this.#expected.get(context)
    if (found === undefined) {
      const state = new State()
      const sums = new Map<string, number>()
      let waiting = entries.filter(({ delta }) => covers(vector, delta))
      for (;;) {
        const ready = waiting.filter(({ delta }) => state.ready(delta))
        if (ready.length === 0) break
        for (const { delta } of ready) state.apply(delta)
        waiting = waiting.filter((entry) => !ready.includes(entry))
      }
      for (const { delta, by } of entries) {
        if (by !== undefined && covers(vector, delta)) sums.set(by.key, (sums.get(by.key) ?? 0) + by.amount)
      }
      this.#expected.set(context, (found = { text: textOf(state), sums }))
    }
    return found
  }

  /** 7: never overspent by crash, partition or reordering. */
  #budget({ nodes, restored }: World): string | undefined {
    if (restored) return undefined
    for (const { name, live } of nodes.values()) {
      const value = valueOf(live, 'b') as { readonly overspent?: number } | undefined
      if ((value?.overspent ?? 0) > 0) return `${name} finds the budget overspent`
    }
    return undefined
  }

  /** 7: a fence never goes backwards while a process lives; nor does a vector, but for a re-adoption. */
  step(before: World, after: World): string | undefined {
    for (const { name, live, process } of after.nodes.values()) {
      const old = before.nodes.get(name)
      if (old === undefined || old.process !== process || old.live.target?.replaces === true) continue
      for (const [origin, seq] of old.live.state.vector) {
        if (seqOf(live.state.vector, origin) < seq) return `the vector of ${name} went back`
      }
      const [was, is] = [Number(valueOf(old.live, 'k') ?? 0), Number(valueOf(live, 'k') ?? 0)]
      if (is < was) return `the fence at ${name} went from ${was} to ${is}`
    }
    return undefined
  }

  /** At quiescence all vectors are equal, nobody catches up and nothing is rotten. */
  agreement({ nodes }: World): string | undefined {
    const [first, ...rest] = [...nodes.values()]
    for (const node of nodes.values()) {
      if (node.live.target !== undefined) return `${node.name} catches up for ever`
      if (node.live.rotten.length > 0) return `${node.name} stays rotten`
    }
    const other = rest.find(({ live }) => first && contextOf(live) !== contextOf(first.live))
    return first && other && `left alone, ${first.name} and ${other.name} do not agree: ${tell(first)} | ${tell(other)}`
  }

  /** 1 and 4: what somebody showed before the fleet was left alone is shown by all, unless somebody removes such a thing. */
  kept(before: World, after: World): string | undefined {
    const removed = after.entries.flatMap(({ delta }) => delta.writes.filter(({ value }) => value === undefined))
    for (const { name, live } of before.nodes.values()) {
      for (const [key, type, path] of live.state.cells()) {
        if (type === counter.id || removed.some((write) => write.key === key && write.path === path)) continue
        for (const other of after.nodes.values()) {
          if (other.live.state.entry(key).cells(type).get(path).length > 0) continue
          return `${other.name} does not have what ${name} showed in ${key}`
        }
      }
    }
    return undefined
  }
}
