/**
 * The house watches itself: layers, purity, dead files, and that what is written down agrees with what is there. The
 * second half plants faults and asks the same functions to find them, so that a green run means something.
 */

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { describe, expect, test } from 'vitest'

import { blobBytes } from './layers.ts'
import {
  circleViolations,
  deadFileViolations,
  type House,
  houseOf,
  layerViolations,
  longFileViolations,
  purityViolations,
  report,
  roomCircles,
  strayTestViolations,
  type Violation,
} from './tidy/rules.ts'

const root = join(import.meta.dirname, '..')
const tracked = trackedFiles()
const house = houseOf(
  tracked.filter((path) => /^(src|test|bench)\/.*\.ts$/.test(path)).map((path) => [path, read(path)] as const),
)

describe('the house', () => {
  test('the rooms stand on each other without a circle', () => {
    expect(roomCircles()).toEqual([])
  })

  const rules: readonly [string, (house: House) => Violation[]][] = [
    ['imports keep to the layers', layerViolations],
    ['pure rooms touch no clock, timer, chance or promise', purityViolations],
    ['no files import each other in a circle', circleViolations],
    ['no file is dead', deadFileViolations],
    ['no test is switched off or alone', strayTestViolations],
    ['no file is longer than a reader can hold', longFileViolations],
  ]
  test.each(rules)('%s', (_, rule) => {
    expect(report(rule(house))).toBe('')
  })

  test('no tracked file is a blob', () => {
    const large = tracked.filter((path) => statSync(join(root, path)).size > blobBytes)
    expect(large).toEqual([])
  })

  test('no tracked file names a place on the machine that wrote it', () => {
    const places = ['../' + 'shared', '/' + 'work/'] // put together here, or this file would find itself
    const naming = tracked.filter((path) => places.some((place) => read(path).includes(place)))
    expect(naming).toEqual([])
  })
})

describe('what is written down', () => {
  test('every error code is in docs/ERRORS.md, and nothing else is', async ({ skip }) => {
    const docs = 'docs/ERRORS.md'
    if (!existsSync(join(root, docs)) || !house.has('src/base/errors.ts')) return skip(`${docs} is not written yet`)
    const registry = new URL('../src/base/errors.ts', import.meta.url).href
    const { errorTable } = (await import(registry)) as { errorTable: Record<string, unknown> }
    expect(codesIn(read(docs)).sort()).toEqual(Object.keys(errorTable).sort())
  })

  test('every runtime dependency has its reason', () => {
    const reasons = [...read('docs/decisions/dependencies.md').matchAll(/^\| `([^`]+)` \|/gm)].map(
      ([, name = '']) => name,
    )
    expect(reasons.sort()).toEqual(Object.keys(manifest().dependencies).sort())
  })

  test.each(['', 'bench/convergence/peers/'])(
    'every version in %spackage.json is pinned, and the lockfile agrees and names no registry',
    (folder) => {
      const { dependencies, devDependencies } = manifest(folder)
      const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(
        ([, version]) => !/^\d/.test(version),
      )
      expect(loose).toEqual([])
      const lock = read(`${folder}package-lock.json`)
      const { packages } = JSON.parse(lock) as { packages: Record<'', Manifest> }
      expect(packages[''].dependencies).toEqual(dependencies)
      expect(packages[''].devDependencies).toEqual(devDependencies)
      expect(lock).not.toContain('"resolved"')
    },
  )

  test('the peers of the bench are the versions that we have ourselves, where we have them', () => {
    const { dependencies, devDependencies } = manifest()
    const own: Readonly<Record<string, string>> = { ...dependencies, ...devDependencies }
    const other = Object.entries(manifest('bench/convergence/peers/').dependencies).filter(
      ([name, version]) => own[name] !== undefined && own[name] !== version,
    )
    expect(other).toEqual([])
  })
})

describe('the checker finds what is planted', () => {
  /** A small clean house, with one file put in or replaced. */
  function planted(path: string, text: string): House {
    return houseOf([...clean, [path, text]])
  }

  const clean: readonly (readonly [string, string])[] = [
    ['src/base/bytes.ts', `export const one = 1\n`],
    ['src/crdt/dot.ts', `import { one } from '../base/bytes.ts'\nexport const dot = one\n`],
    [
      'src/crdt/types/text.ts',
      `import { inflateSync } from 'node:zlib'\nimport * as Y from 'yjs'\nexport { inflateSync, Y }\n`,
    ],
    ['src/replica/space.ts', `import { dot } from '../crdt/dot.ts'\nexport const space = dot\n`],
    ['src/store/store.ts', `export interface Store { read(): Promise<Uint8Array> }\n`],
    ['src/store/level.ts', `import { Level } from 'level'\nimport 'node:fs'\nexport const level = Level\n`],
    ['src/node/machine.ts', `import { space } from '../replica/space.ts'\nexport const machine = space\n`],
    [
      'src/node/node.ts',
      `import type { Store } from '../store/store.ts'\nimport { machine } from './machine.ts'\nexport const run = async (store: Store) => [machine, await store.read(), Date.now()]\n`,
    ],
    ['src/open.ts', `import './node/node.ts'\nimport './store/level.ts'\n`],
    ['src/index.ts', `export * from './open.ts'\n`],
    ['src/cli/main.ts', `import '../index.ts'\nimport '../crdt/types/text.ts'\n`],
    [
      'src/crdt/dot.test.ts',
      `import { test } from 'vitest'\nimport './dot.ts'\ntest('later', async () => { await 1 })\n`,
    ],
  ]

  const all = [
    layerViolations,
    purityViolations,
    circleViolations,
    deadFileViolations,
    strayTestViolations,
    longFileViolations,
  ]
  const findings = (inside: House): string => report(all.flatMap((rule) => rule(inside)))

  test('nothing in a clean house', () => {
    expect(findings(houseOf(clean))).toBe('')
  })

  /** What is planted, where, and the finding it must give. */
  const layerFaults: readonly [title: string, path: string, text: string, finding: string][] = [
    [
      'an upward import',
      'src/crdt/dot.ts',
      `import '../replica/space.ts'`,
      'src/crdt/dot.ts:1 [layers] imports src/replica/space.ts',
    ],
    [
      'an upward import of a type',
      'src/crdt/dot.ts',
      `\nimport type { A } from '../replica/space.ts'`,
      'src/crdt/dot.ts:2 [layers]',
    ],
    [
      'an upward type in a type',
      'src/crdt/dot.ts',
      `type A = import('../replica/space.ts').A`,
      'src/crdt/dot.ts:1 [layers]',
    ],
    ['an upward export from', 'src/crdt/dot.ts', `export * from '../replica/space.ts'`, 'src/crdt/dot.ts:1 [layers]'],
    [
      'an upward named export from',
      'src/crdt/dot.ts',
      `export { a } from '../replica/space.ts'`,
      'src/crdt/dot.ts:1 [layers]',
    ],
    [
      'an upward dynamic import',
      'src/store/level.ts',
      `await import('../node/node.ts')`,
      'src/store/level.ts:1 [layers]',
    ],
    ['an upward require', 'src/store/level.ts', `require('../node/node.ts')`, 'src/store/level.ts:1 [layers]'],
    [
      'gossip that knows a CRDT type',
      'src/gossip/swim.ts',
      `import '../crdt/types/text.ts'`,
      'src/gossip/swim.ts:1 [layers]',
    ],
    [
      'the driver that picks an adapter',
      'src/node/node.ts',
      `import '../store/level.ts'`,
      'src/node/node.ts:1 [layers] imports src/store/level.ts',
    ],
    ['the machine that sees its driver', 'src/node/machine.ts', `import './node.ts'`, 'src/node/machine.ts:1 [layers]'],
    [
      'a module of Node in a pure room',
      'src/crdt/dot.ts',
      `import 'node:fs'`,
      'src/crdt/dot.ts:1 [layers] imports node:fs',
    ],
    ['a module of Node by its old name', 'src/crdt/dot.ts', `import 'fs'`, 'src/crdt/dot.ts:1 [layers] imports fs'],
    [
      'zlib outside of the types',
      'src/crdt/dot.ts',
      `import 'node:zlib'`,
      'src/crdt/dot.ts:1 [layers] imports node:zlib',
    ],
    [
      'a package without an allowance',
      'src/node/node.ts',
      `import 'level'`,
      'src/node/node.ts:1 [layers] imports level',
    ],
    [
      'an import of test code',
      'src/node/node.ts',
      `import '../../test/layers.ts'`,
      'src/node/node.ts:1 [layers] imports test/layers.ts',
    ],
    ['an import of a test', 'src/replica/space.ts', `import '../crdt/dot.test.ts'`, 'src/replica/space.ts:1 [layers]'],
    ['an import of a suite', 'src/store/level.ts', `import './store.suite.ts'`, 'src/store/level.ts:1 [layers]'],
    ['a folder in no room', 'src/utils/all.ts', ``, 'src/utils/all.ts:1 [layers] lives in no room'],
    ['a file that cannot be parsed', 'src/crdt/dot.ts', `const = 1`, 'src/crdt/dot.ts:1 [layers] cannot be parsed'],
  ]
  test.each(layerFaults)('%s', (_, path, text, finding) => {
    expect(findings(planted(path, text))).toContain(finding)
  })

  const impurities: readonly [text: string, name: string][] = [
    [`Date.now()`, 'Date'],
    [`new Date()`, 'Date'],
    [`Math.random()`, 'Math.random'],
    [`Math['random']()`, 'Math.random'],
    [`const { random } = Math`, 'Math.random'],
    [`performance.now()`, 'performance'],
    [`setTimeout(() => 1, 1)`, 'setTimeout'],
    [`const later = { setInterval }`, 'setInterval'],
    [`queueMicrotask(f)`, 'queueMicrotask'],
    [`process.exit()`, 'process'],
    [`console.log(1)`, 'console'],
    [`fetch('x')`, 'fetch'],
    [`crypto.randomUUID()`, 'crypto'],
    [`globalThis['crypto']`, 'globalThis'],
    [`new Promise(() => 1)`, 'Promise'],
    [`Promise.resolve(1)`, 'Promise'],
    [`async () => 1`, 'async'],
    [`class A { async m() {} }`, 'async'],
    [`await 1`, 'await'],
    [`for await (const a of b) a`, 'for await'],
    [`{ await using a = b }`, 'await using'],
    [`import('./dot.ts')`, 'import()'],
    [`{ const Date = 1 }\nDate.now()`, 'Date'],
    [`function f(now = Date.now()) { return now }`, 'Date'],
    [`const a = (process as unknown) as number`, 'process'],
  ]
  test.each(impurities)('impure: %s', (text, name) => {
    const line = text.split('\n').length
    for (const path of ['src/merge/rule.ts', 'src/node/machine.ts']) {
      expect(findings(planted(path, text))).toContain(`${path}:${line} [purity] ${name} in a pure room`)
    }
  })

  test.each([
    `// Date.now() and await\nconst a = 'process.exit()'`,
    'const a = `Math.random()`',
    `a.process.Date.now()`,
    `const a = { Date: 1, process: 2, fetch() {} }`,
    `class A { fetch = 1; async = 2; process() {} }`,
    `type A = Promise<Date>; let b: Date | typeof process`,
    `interface A { read(): Promise<void>; fetch: typeof fetch }`,
    `import { Date } from './x.ts'\nDate.now()`,
    `export { Date, process } from './x.ts'`,
    `function f(performance: number, { crypto }: X, ...console: Y) { return performance + crypto + console.length }`,
    `const f = (fetch: () => void) => fetch()`,
    `for (const process of a) process.x()`,
    `try { a() } catch (process) { process.x }`,
    `function f() { if (a) { var crypto = 1 } return crypto }`,
    `Math.floor(1.5) + Math.max(1, 2)`,
    `process: for (;;) break process`,
  ])('pure: %s', (text) => {
    expect(report(purityViolations(planted('src/merge/rule.ts', text)))).toBe('')
  })

  test('a circle of files, but not one of types', () => {
    const back = (word: string): House => planted('src/base/bytes.ts', `import ${word} { b } from './b.ts'`)
    const b = ['src/base/b.ts', `import { one } from './bytes.ts'`] as const
    expect(report(circleViolations(new Map([...back(''), ...houseOf([b])])))).toContain(
      'src/base/bytes.ts -> src/base/b.ts',
    )
    expect(report(circleViolations(new Map([...back('type'), ...houseOf([b])])))).toBe('')
  })

  test('a dead file', () => {
    expect(findings(planted('src/merge/forgotten.ts', ''))).toContain('src/merge/forgotten.ts:1 [dead file]')
  })

  test.each(['only', 'skip'])('a stray %s', (word) => {
    const path = 'src/crdt/dot.test.ts'
    for (const call of [`it.${word}('a', f)`, `describe.${word}('a', f)`, `test.concurrent.${word}('a', f)`]) {
      expect(findings(planted(path, `\n${call}`))).toContain(`${path}:2 [stray]`)
    }
    expect(findings(planted(path, `it.skipIf(old)('a', f); list.${word}(1); '.${word}('`))).toBe('')
  })

  test('a file that is too long', () => {
    expect(findings(planted('src/crdt/dot.ts', '\n'.repeat(901)))).toContain('src/crdt/dot.ts:901 [length]')
    expect(findings(planted('src/crdt/dot.ts', '\n'.repeat(900)))).not.toContain('[length]')
  })

  test('rooms in a circle', () => {
    const room = (at: string, imports: string[]) => ({ at, imports, pure: true, says: '' })
    expect(roomCircles([room('a/', ['b/']), room('b/', ['a/'])])).toEqual(['a/ -> b/ -> a/'])
  })

  test('codes in a page of errors', () => {
    expect(codesIn('| `a_b` | x |\n### `c`\ntext `d` and\n| code |\n')).toEqual(['a_b', 'c'])
  })
})

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
}

function manifest(folder = ''): Manifest {
  return JSON.parse(read(`${folder}package.json`)) as Manifest
}

/** An error code has a table row or a heading of its own, in backticks. */
function codesIn(markdown: string): string[] {
  return [...markdown.matchAll(/^(?:\| *|#+ +)`([a-z0-9_]+)`/gm)].map(([, code = '']) => code)
}

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

/** What git tracks or would track; in a copy without git, every file that is not made by a tool. */
function trackedFiles(): string[] {
  let paths: string[]
  try {
    const list = ['ls-files', '-z', '--cached', '--others', '--exclude-standard']
    const output = execFileSync('git', list, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    paths = output.split('\0').filter((path) => path !== '')
  } catch {
    const made = new Set(['.git', 'node_modules', 'dist', 'coverage', 'skein-data'])
    const entries = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    const all = entries.map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'))
    paths = all.filter((path) => !path.split('/').some((part) => made.has(part)))
  }
  return paths.filter((path) => statSync(join(root, path), { throwIfNoEntry: false })?.isFile() === true).sort()
}
