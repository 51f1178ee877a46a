/**
 * The rules of the house over the facts of its files: pure functions from a set of sources to what is wrong with them.
 * The table they enforce is ../layers.ts; the sources come in as text, so that the tidy test can plant a fault.
 */

import { isBuiltin } from 'node:module'
import { posix } from 'node:path'

import { type Allowance, entryPoints, fileLines, impureGlobals, type Room, rooms, testSuffixes } from '../layers.ts'
import { type Facts, factsOf, type Import } from './facts.ts'

export interface Violation {
  readonly file: string
  readonly line: number
  readonly rule: string
  /** What is wrong, and why that is a rule. */
  readonly message: string
}

export interface SourceFile {
  readonly path: string
  readonly text: string
  readonly facts: Facts
}

/** Files by their path from the root of the repository, with forward slashes. */
export type House = ReadonlyMap<string, SourceFile>

export function houseOf(texts: Iterable<readonly [path: string, text: string]>): House {
  const files = [...texts].filter(([path]) => path.endsWith('.ts'))
  return new Map(files.map(([path, text]) => [path, { path, text, facts: factsOf(path, text) }]))
}

export function report(violations: readonly Violation[]): string {
  return violations.map(({ file, line, rule, message }) => `${file}:${line} [${rule}] ${message}`).join('\n')
}

export function roomOf(path: string): Room | undefined {
  const inside = path.slice('src/'.length)
  const matching = rooms.filter(({ at }) => (at.endsWith('/') ? inside.startsWith(at) : inside === at))
  return matching.sort((a, b) => b.at.length - a.at.length)[0]
}

// --- layers -----------------------------------------------------------------------------------------------------

/** Who imports whom: rooms, packages, and that nobody leans on a test. */
export function layerViolations(house: House): Violation[] {
  return [...house.values()].filter(({ path }) => path.startsWith('src/')).flatMap(layerViolationsOf)
}

function layerViolationsOf(file: SourceFile): Violation[] {
  const room = roomOf(file.path)
  const problem = (line: number, message: string): Violation => ({ file: file.path, line, rule: 'layers', message })
  if (room === undefined) return [problem(1, 'lives in no room: give its folder a line in test/layers.ts')]
  return [
    ...file.facts.parseErrors.map(({ name, line }) => problem(line, `cannot be parsed: ${name}`)),
    ...file.facts.imports.flatMap((one) => {
      const message = one.specifier.startsWith('.') ? pathProblem(file, room, one) : packageProblem(file, room, one)
      return message === undefined ? [] : [problem(one.line, message)]
    }),
  ]
}

function pathProblem(file: SourceFile, room: Room, one: Import): string | undefined {
  const target = targetOf(file, one)
  if (!target.startsWith('src/')) return `imports ${target}: src never leans on what is outside of it`
  if (target.endsWith('.test.ts')) return `imports ${target}: nobody imports a test`
  const proves = isTestLike(file.path) || room.at === 'sim/' || room.at === 'testing/'
  if (isTestLike(target) && !proves)
    return `imports ${target}: laws, suites and kits belong to tests, sim/ and testing/`
  const there = roomOf(target)
  if (there === undefined || there === room || room.imports.includes(there.at)) return undefined
  if (one.typeOnly && room.types?.includes(there.at) === true) return undefined
  if (file.path.endsWith('.test.ts') && there.at !== 'cli/') return undefined // a test may look upward
  const allowed = room.imports.length === 0 ? 'nothing' : `only ${room.imports.join(', ')}`
  return `imports ${target}: ${room.at} may import ${allowed}, because imports point one way (test/layers.ts)`
}

function packageProblem(file: SourceFile, room: Room, one: Import): string | undefined {
  if (isTestLike(file.path) || (room.packages ?? []).some((allowance) => covers(allowance, file.path, one))) {
    return undefined
  }
  if (isBuiltin(one.specifier)) {
    return room.pure ? `imports ${one.specifier}: ${room.at} is pure and touches nothing of the machine` : undefined
  }
  return `imports ${one.specifier}: ${room.at} has no allowance for that package (test/layers.ts)`
}

function covers({ name, under }: Allowance, path: string, { specifier }: Import): boolean {
  const named = name.endsWith('/*') ? specifier.startsWith(name.slice(0, -1)) : specifier === name
  return named && (under === undefined || path.startsWith(`src/${under}`))
}

/** The rooms themselves must stand on each other without a circle. */
export function roomCircles(table: readonly Room[] = rooms): string[] {
  const edges = new Map(table.map(({ at, imports }) => [at, imports]))
  return circlesOf(edges).map((circle) => circle.join(' -> '))
}

/** Files that import each other in a circle at run time; a type may point back, since it is gone by then. */
export function circleViolations(house: House): Violation[] {
  const edges = new Map([...house.values()].map((file) => [file.path, targetsOf(file, (one) => !one.typeOnly)]))
  return circlesOf(edges).map((circle) => ({
    file: circle[0] ?? '',
    line: 1,
    rule: 'circles',
    message: `${circle.join(' -> ')}: which of them runs first depends on who asks`,
  }))
}

/** One circle for every edge that leads back to where the walk came from. */
function circlesOf(edges: ReadonlyMap<string, readonly string[]>): string[][] {
  const circles: string[][] = []
  const done = new Set<string>()
  const way: string[] = []
  const visit = (at: string): void => {
    const back = way.indexOf(at)
    if (back !== -1) circles.push([...way.slice(back), at])
    if (back !== -1 || done.has(at)) return
    way.push(at)
    for (const next of edges.get(at) ?? []) visit(next)
    way.pop()
    done.add(at)
  }
  for (const at of edges.keys()) visit(at)
  return circles
}

// --- purity -----------------------------------------------------------------------------------------------------

export function purityViolations(house: House): Violation[] {
  const pure = [...house.values()].filter(({ path }) => path.startsWith('src/') && !isTestLike(path) && isPure(path))
  return pure.flatMap(({ path, facts }) => {
    const problem = (line: number, what: string, why: string): Violation => ({
      file: path,
      line,
      rule: 'purity',
      message: `${what} in a pure room: ${why}`,
    })
    const reasons = new Map([
      ...Object.entries(impureGlobals),
      ['Math.random', 'chance comes in as a seeded generator'],
    ])
    return [
      ...facts.globals.flatMap(({ name, line }) => {
        const why = reasons.get(name)
        return why === undefined ? [] : [problem(line, name, why)]
      }),
      ...facts.asynchronous.map(({ name, line }) => problem(line, name, 'a pure step ends when it returns')),
    ]
  })
}

function isPure(path: string): boolean {
  return roomOf(path)?.pure === true
}

// --- order in the house -----------------------------------------------------------------------------------------

/**
 * Files of src/ that nothing leads to. It rests until the two main entry points exist: before that there is no
 * program that a file could be dead in.
 */
export function deadFileViolations(house: House): Violation[] {
  if (!house.has('src/index.ts') || !house.has('src/cli/main.ts')) return []
  const isRoot = (path: string): boolean =>
    entryPoints.includes(path) || path.endsWith('.test.ts') || path.startsWith('test/')
  const queue = [...house.keys()].filter(isRoot)
  const alive = new Set(queue)
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    const file = house.get(path)
    for (const target of file === undefined ? [] : targetsOf(file, () => true)) {
      if (alive.has(target)) continue
      alive.add(target)
      queue.push(target)
    }
  }
  const dead = [...house.keys()].filter((path) => path.startsWith('src/') && !alive.has(path))
  return dead.map((path) => ({
    file: path,
    line: 1,
    rule: 'dead file',
    message: `nothing leads here from ${entryPoints.join(', ')} or a test: delete it or use it`,
  }))
}

export function strayTestViolations(house: House): Violation[] {
  return [...house.values()].flatMap(({ path, facts }) =>
    facts.strayTests.map(({ name, line }) => ({
      file: path,
      line,
      rule: 'stray',
      message: `${name} left behind: it hides tests (where a platform lacks something, use skipIf and say why)`,
    })),
  )
}

export function longFileViolations(house: House): Violation[] {
  return [...house.values()].flatMap(({ path, text }) => {
    const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
    if (lines <= fileLines) return []
    return [
      { file: path, line: lines, rule: 'length', message: `${lines} lines: over ${fileLines} hides a second noun` },
    ]
  })
}

// --- small things -----------------------------------------------------------------------------------------------

function isTestLike(path: string): boolean {
  return testSuffixes.some((suffix) => path.endsWith(suffix))
}

function targetsOf(file: SourceFile, wanted: (one: Import) => boolean): string[] {
  const relative = file.facts.imports.filter((one) => one.specifier.startsWith('.') && wanted(one))
  return relative.map((one) => targetOf(file, one))
}

function targetOf(file: SourceFile, one: Import): string {
  return posix.join(posix.dirname(file.path), one.specifier)
}
