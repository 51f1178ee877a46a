/**
 * The model explored over small scopes, the faults that it must find, and seven stories that every real machine has to
 * tell the same way. A story names its steps; each must be open when its turn comes.
 */
import { describe, expect, test } from 'vitest'
import { Checks, explore, replay, taken } from './explore.ts'
import type { Bounds } from './explore.ts'
import { applied, byKey, emptyImage, written } from './image.ts'
import type { Entry, Fork, Image } from './image.ts'
import { faults, originOf } from './model.ts'
import type { Fault } from './model.ts'
import { scopes } from './scopes.ts'
import { Model, tell, valueOf, worldOf } from './world.ts'
import type { Scope } from './world.ts'

const anyFork: Fork = { seq: 1, at: 1, chain: '' }

/** Enough to see half of the scopes whole; `npm run model` goes as deep as it is told. */
const shallow: Bounds = { depth: 40, states: 4000, settleEvery: 2 }

describe('every order of steps in', () => {
  test.each(scopes.map((scope) => [scope.title, scope] as const))('%s', (_, scope) => {
    const { violation, transcript } = explore(scope, shallow)
    expect([violation ?? 'all is well', ...transcript]).toEqual(['all is well'])
  })
})

/** In which scope each planted fault shows first. */
const foundIn: Readonly<Record<Fault, string>> = {
  'a chunk carries the whole vector of its sender': 'crashes and catch-up',
  'a gap in an origin is leapt over': 'pushes in any order',
  'a disk is acknowledged for what only the memory holds': 'crashes and catch-up',
  'an incarnation survives a crash': 'fences over crashes',
  'what is present on either side is kept': 'below the log',
  'a snapshot is merged as if nothing were known here': 'two halves apart',
  'the vector of a snapshot is read after its cells': 'below the log',
  'the vector moves with the first part of a snapshot': 'below the log',
  'deltas that a target covers are applied': 'deltas beside a target',
  'a risen target keeps what was staged before': 'two halves apart',
  'rotten cells are shipped': 'bit rot',
  'budget deltas leave before the disk has them': 'a budget over crashes',
  'who holds the losing fork merges with the winner': 'a memory cloned',
  'a fork closes nothing for those who wait for its tail': 'a memory cloned',
  'what only the losing fork held is not written again': 'a memory cloned',
  'the log forgets where its floor is': 'below the log',
  'a snapshot leaves its chains behind': 'a memory cloned, beside one who took cells',
}

describe('the exploration finds that', () => {
  test.each(faults)('%s', (fault) => {
    const scope = scopes.find(({ title }) => title === foundIn[fault])
    const { violation, transcript } = explore({ ...(scope as Scope), fault }, { ...shallow, settleEvery: 1 })
    expect(violation).toBeDefined()
    expect(transcript.length).toBeGreaterThan(0)
  })
})

/** What every node holds after each step, and when all are left alone at the end. */
function story(scope: Omit<Scope, 'title'>, steps: readonly string[]): string {
  const model = new Model({ title: 'a story', ...scope })
  const checks = new Checks()
  let world = worldOf(model.scope)
  for (const step of steps) {
    const next = taken(model, world, step)
    expect(checks.step(world, next) ?? checks.world(next)).toBeUndefined()
    world = next
  }
  const settled = model.settled(world)
  expect(checks.world(settled) ?? checks.agreement(settled)).toBeUndefined()
  const end = [...settled.nodes.values()].map((node) => `    ${tell(node)}`)
  return ['', ...replay(model, steps), 'all are left alone', ...end, ''].join('\n')
}

test('a chunked catch-up whose sender loses its disk: what came stays, and no dot is used again', () => {
  const scope = { programs: { a: ['add s x', 'add s y', 'add s z', 'add s w'], b: [] }, mishaps: { crash: 1 } }
  const steps = [
    'a writes add s x',
    'a writes add s y',
    'a writes add s z',
    'b pulls a1:1 from a',
    'b pulls a1:2 from a',
  ]
  expect(story(scope, [...steps, 'b stores', 'a crashes', 'a writes add s w', 'b pulls a2:1 from a']))
    .toMatchInlineSnapshot(`
      "
      a writes add s x
          a(a1:1) s=["x"]
          b()
      a writes add s y
          a(a1:2) s=["x","y"]
      a writes add s z
          a(a1:3) s=["x","y","z"]
      b pulls a1:1 from a
          b(a1:1) s=["x"]
      b pulls a1:2 from a
          b(a1:2) s=["x","y"]
      b stores
      a crashes
          a()
      a writes add s w
          a(a2:1) s=["w"]
      b pulls a2:1 from a
          b(a1:2 a2:1) s=["w","x","y"]
      all are left alone
          a(a1:2 a2:1) s=["w","x","y"]
          b(a1:2 a2:1) s=["w","x","y"]
      "
    `)
})

test('a whole cell is merged at the vector that it was read at, not at one that knows more', () => {
  const scope = {
    programs: { a: ['add s x', 'remove s x', 'add s y'], b: ['add s z'] },
    mishaps: { prune: 1, target: 1 },
    stored: true,
    alone: true,
  }
  const steps = [
    'a writes add s x',
    'a prunes',
    'b starts to catch up with a',
    'a writes remove s x',
    'b writes add s z',
  ]
  const rest = ['b takes in s from a', 'a writes add s y', 'b merges what a had', 'b pulls a1:2 from a']
  expect(story(scope, [...steps, ...rest])).toMatchInlineSnapshot(`
    "
    a writes add s x
        a(a1:1) s=["x"]
        b()
    a prunes
    b starts to catch up with a
        b()  [catching up]
    a writes remove s x
        a(a1:2)
    b writes add s z
        b(b1:1) s=["z"] [catching up]
    b takes in s from a
    a writes add s y
        a(a1:3) s=["y"]
    b merges what a had
        b(a1:1 b1:1) s=["x","z"]
    b pulls a1:2 from a
        b(a1:2 b1:1) s=["z"]
    all are left alone
        a(a1:3 b1:1) s=["y","z"]
        b(a1:3 b1:1) s=["y","z"]
    "
  `)
})

test('a healthy node beside one that lost a sibling to bit rot keeps its own, and heals the other', () => {
  const scope = {
    programs: { a: ['set r 1'], b: ['set q 2'], c: [] },
    mishaps: { rot: 1, prune: 1, target: 2 },
    stored: true,
    alone: true,
  }
  const steps = ['a writes set r 1', 'b pulls a1:1 from a', 'b writes set q 2', 'b prunes', 'b loses a1:1 of r to rot']
  // What differs by the leaves is q; what rotted is no difference, and is not looked at.
  const beside = ['a starts to catch up with b', 'a takes in q from b', 'a merges what b had']
  expect(story(scope, [...steps, ...beside])).toMatchInlineSnapshot(`
    "
    a writes set r 1
        a(a1:1) r={"field":"1"}
        b()
        c()
    b pulls a1:1 from a
        b(a1:1) r={"field":"1"}
    b writes set q 2
        b(a1:1 b1:1) q={"field":"2"} r={"field":"1"}
    b prunes
    b loses a1:1 of r to rot
        b(a1:1 b1:1) q={"field":"2"} [rotten]
    a starts to catch up with b
        a(a1:1) r={"field":"1"} [catching up]
    a takes in q from b
    a merges what b had
        a(a1:1 b1:1) q={"field":"2"} r={"field":"1"}
    all are left alone
        a(a1:1 b1:1) q={"field":"2"} r={"field":"1"}
        b(a1:1 b1:1) q={"field":"2"} r={"field":"1"}
        c(a1:1 b1:1) q={"field":"2"} r={"field":"1"}
    "
  `)
  // Whoever needs the rotten cell itself gets it from somebody else.
  expect(() => story(scope, [...steps, 'c starts to catch up with b'])).toThrow('is not open')
})

test('add and remove in turn across a cut: whoever comes back from a backup brings nothing back', () => {
  const scope = {
    programs: { a: ['add s x', 'remove s x', 'add s x', 'remove s x', 'add t y'], b: [] },
    mishaps: { restore: 1, tell: 1, prune: 1, target: 1 },
    stored: true,
  }
  const steps = ['a writes add s x', 'b pulls a1:1 from a', 'a writes remove s x', 'b pulls a1:2 from a']
  const cut = [
    'b tells what its disk has',
    'a prunes',
    'b comes back from a backup',
    'a writes add s x',
    'a writes remove s x',
  ]
  const back = ['b starts to catch up with a', 'b takes in s from a', 'b merges what a had']
  expect(story(scope, [...steps, ...cut, ...back])).toMatchInlineSnapshot(`
    "
    a writes add s x
        a(a1:1) s=["x"]
        b()
    b pulls a1:1 from a
        b(a1:1) s=["x"]
    a writes remove s x
        a(a1:2)
    b pulls a1:2 from a
        b(a1:2)
    b tells what its disk has
    a prunes
    b comes back from a backup
        b(a1:1) s=["x"]
    a writes add s x
        a(a1:3) s=["x"]
    a writes remove s x
        a(a1:4)
    b starts to catch up with a
        b(a1:1) s=["x"] [catching up]
    b takes in s from a
    b merges what a had
        b(a1:4)
    all are left alone
        a(a1:4)
        b(a1:4)
    "
  `)
})

test('two halves that excluded each other and pruned meet again, each below the log of the other', () => {
  const scope = {
    programs: { a: ['add s x', 'remove s x', 'add t v'], b: ['add t w'] },
    mishaps: { part: 1, prune: 2, target: 2 },
    stored: true,
  }
  const steps = [
    'a writes add s x',
    'b pulls a1:1 from a',
    'a and b exclude each other',
    'a writes remove s x',
    'a writes add t v',
  ]
  const apart = [
    'b writes add t w',
    'a prunes',
    'b prunes',
    'a starts to catch up with b',
    'b starts to catch up with a',
  ]
  const again = ['b takes in s from a', 'b takes in t from a', 'a takes in s from b', 'a takes in t from b']
  const merged = ['b merges what a had', 'a merges what b had']
  expect(story(scope, [...steps, ...apart, ...again, ...merged])).toMatchInlineSnapshot(`
    "
    a writes add s x
        a(a1:1) s=["x"]
        b()
    b pulls a1:1 from a
        b(a1:1) s=["x"]
    a and b exclude each other
    a writes remove s x
        a(a1:2)
    a writes add t v
        a(a1:3) t=["v"]
    b writes add t w
        b(a1:1 b1:1) s=["x"] t=["w"]
    a prunes
    b prunes
    a starts to catch up with b
        a(a1:3) t=["v"] [catching up]
    b starts to catch up with a
        b(a1:1 b1:1) s=["x"] t=["w"] [catching up]
    b takes in s from a
    b takes in t from a
    a takes in s from b
    a takes in t from b
    b merges what a had
        b(a1:3 b1:1) t=["v","w"]
    a merges what b had
        a(a1:3 b1:1) t=["v","w"]
    all are left alone
        a(a1:3 b1:1) t=["v","w"]
        b(a1:3 b1:1) t=["v","w"]
    "
  `)
})

test('a budget and a counter over restore and clone: the counter is exact, the budget says what was overspent', () => {
  const scope = {
    programs: { a: ['incr c 1', 'grant b 2', 'spend b 2', 'incr c 2', 'spend b 2'], A: ['incr c 4'], b: [] },
    mishaps: { restore: 1, 'clone disk': 1, part: 1 },
    stored: true,
  }
  const steps = ['a and b exclude each other', 'a writes incr c 1', 'a writes grant b 2', 'a writes spend b 2']
  const sent = ['b pulls a1:1 from a', 'b pulls a1:2 from a', 'b pulls a1:3 from a', 'the disk of a is cloned']
  const rest = ['A writes incr c 4', 'a comes back from a backup', 'a writes incr c 2', 'a writes spend b 2']
  expect(story(scope, [...steps, ...sent, ...rest])).toMatchInlineSnapshot(`
    "
    a and b exclude each other
        a()
        b()
    a writes incr c 1
        a(a1:1) c=1
    a writes grant b 2
        a(a1:2) b={"granted":2,"spent":0,"overspent":0} c=1
    a writes spend b 2
        a(a1:3) b={"granted":2,"spent":2,"overspent":0} c=1
    b pulls a1:1 from a
        b(a1:1) c=1
    b pulls a1:2 from a
        b(a1:2) b={"granted":2,"spent":0,"overspent":0} c=1
    b pulls a1:3 from a
        b(a1:3) b={"granted":2,"spent":2,"overspent":0} c=1
    the disk of a is cloned
        A(a1:3) b={"granted":2,"spent":2,"overspent":0} c=1
    A writes incr c 4
        A(a1:3 a2:1) b={"granted":2,"spent":2,"overspent":0} c=5
    a comes back from a backup
        a(a1:2) b={"granted":2,"spent":0,"overspent":0} c=1
    a writes incr c 2
        a(a1:2 a3:1) b={"granted":2,"spent":0,"overspent":0} c=3
    a writes spend b 2
        a(a1:2 a3:2) b={"granted":2,"spent":2,"overspent":0} c=3
    all are left alone
        a(a1:3 a2:1 a3:2) b={"granted":2,"spent":4,"overspent":2} c=7
        b(a1:3 a2:1 a3:2) b={"granted":2,"spent":4,"overspent":2} c=7
        A(a1:3 a2:1 a3:2) b={"granted":2,"spent":4,"overspent":2} c=7
    "
  `)
})

test('one memory cloned while it ran: one history stands, what the other wrote is written again, nobody differs', () => {
  const scope = {
    programs: { a: ['add s x', 'add s y'], A: ['add s z', 'remove s x'], b: ['add s w'] },
    mishaps: { 'clone memory': 1 },
    stored: true,
  }
  const steps = [
    'a writes add s x',
    'the memory of a is cloned',
    'a writes add s y',
    'A writes add s z',
    'A writes remove s x',
  ]
  const met = ['b pulls a1:1 from a', 'b pulls a1:2 from a', 'b writes add s w', 'A closes a fork with b']
  const settled = ['b starts to re-adopt from A', 'b takes in s from A', 'b re-adopts what A had']
  expect(story(scope, [...steps, ...met, ...settled])).toMatchInlineSnapshot(`
    "
    a writes add s x
        a(a1:1) s=["x"]
        b()
    the memory of a is cloned
        A(a1:1) s=["x"]
    a writes add s y
        a(a1:2) s=["x","y"]
    A writes add s z
        A(a1:2) s=["x","z"]
    A writes remove s x
        A(a1:3) s=["z"]
    b pulls a1:1 from a
        b(a1:1) s=["x"]
    b pulls a1:2 from a
        b(a1:2) s=["x","y"]
    b writes add s w
        b(a1:2 b1:1) s=["w","x","y"]
    A closes a fork with b
        A(a1:3!) s=["z"]
    b starts to re-adopt from A
        b(a1:2 b1:1) s=["w","x","y"] [catching up]
    b takes in s from A
    b re-adopts what A had
        b(a1:3! b1:1 b2:1) s=["w","y","z"]
    all are left alone
        a(a1:3! b1:1 b2:1) s=["w","y","z"]
        b(a1:3! b1:1 b2:1) s=["w","y","z"]
        A(a1:3! b1:1 b2:1) s=["w","y","z"]
    "
  `)
})

test('the limit: a fork whose loser is below the log goes unseen, so a twin must hold the cut', () => {
  const programs = { a: ['add s x', 'add s y'], A: ['add s z', 'add s v'], b: [] }
  const mishaps = { 'clone memory': 1, tell: 1, prune: 1 }
  const model = new Model({ title: 'the limit', programs, mishaps, stored: true })
  const steps = [
    'a writes add s x',
    'the memory of a is cloned',
    'a writes add s y',
    'A writes add s z',
    'A writes add s v',
  ]
  const pulls = ['b pulls a1:1 from A', 'b pulls a1:2 from A', 'b pulls a1:3 from A']
  let world = worldOf(model.scope)
  // One acknowledgement of node b, and a roster of two: A takes itself for the other.
  for (const step of [...steps, ...pulls, 'b tells what its disk has', 'A prunes']) world = taken(model, world, step)
  expect(new Checks().world(model.settled(world))).toContain('equal vectors and other cells')
})

test('the limit: a rescue that copies cells loses what types that count by origin had in them', () => {
  const programs = { a: ['incr c 1', 'incr c 2'], A: ['incr c 4'], b: [] }
  const model = new Model({ title: 'the limit', programs, mishaps: { 'clone memory': 1 }, stored: true })
  let world = worldOf(model.scope)
  const steps = ['a writes incr c 1', 'the memory of a is cloned', 'a writes incr c 2', 'A writes incr c 4']
  for (const step of steps) world = taken(model, world, step)
  const read = [...model.settled(world).nodes.values()].map(({ live }) => valueOf(live, 'c'))
  // Alike everywhere, and 7 would be right.
  expect(read).toEqual([5, 5, 5])
})

test('why a closed origin has an end: before it, a delta that saw the losing tail does other things to other states', () => {
  const common = emptyImage([])
  const write = (image: Image, name: string, value: string): Image => {
    const operation = { key: 'r', type: 'record', name: 'set', args: { fields: { field: value } } }
    return applied(image, written(image, originOf(name, 1), operation, () => false) as Entry)
  }
  const winner = write(common, 'a', 'winning')
  const over = write(write(common, 'a', 'losing'), 'b', 'over the losing one').log.at(-1) as Entry
  // Its context counts as met although the end is not here; then the end comes.
  const early = applied(
    applied({ ...common, closed: new Map([[originOf('a', 1), anyFork]]) }, over),
    winner.log[0] as Entry,
  )
  const late = applied(winner, over)
  expect([...early.state.vector].sort(byKey)).toEqual([...late.state.vector].sort(byKey))
  const siblings = ({ state }: Image): number => [...state.cells()].reduce((sum, [, , , cell]) => sum + cell.length, 0)
  expect([siblings(early), siblings(late)]).toEqual([2, 1])
})
