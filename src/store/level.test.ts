import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readFile, readdir, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Level } from 'level'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SkeinError } from '../base/errors.ts'
import { prng } from '../base/prng.ts'
import { crc32c, maskCrc } from './crc32c.ts'
import { formatText } from './directory.ts'
import { listLevelFiles, readLevelLog, snappyDecode, verifyLevelFiles } from './level-files.ts'
import { openLevelStore } from './level.ts'
import type { LevelStore, LevelStoreOptions } from './level.ts'
import { readMark } from './mark.ts'
import { codeOf, collect, commit, storeSuite } from './store.suite.ts'

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
let root: string
let made = 0
const freshDir = (): string => join(root, `d${made++}`)

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'skein-store-'))
})
afterAll(async () => {
  await rm(root, { recursive: true, force: true })
})

storeSuite('level', async () => {
  const dir = freshDir()
  let store = await openLevelStore({ dir })
  return {
    store,
    reopen: async () => {
      await store.close()
      store = await openLevelStore({ dir })
      return store
    },
  }
})

test.each(['in memory', 'in one table', 'in tables of several levels'])(
  '[PU4] after compacting no file holds what was overwritten or removed: %s',
  async (where) => {
    const dir = freshDir()
    const text = (what: string): Uint8Array => new TextEncoder().encode(what)
    const [overwritten, removed, kept] = ['overwritten-7f3a9c', 'removed-51be20', 'kept-88d1e4']
    await using store = await openLevelStore({ dir, writeBufferBytes: 65_536 })
    const chance = prng(7)
    const filler = (): Uint8Array => Uint8Array.from({ length: 400 }, () => chance.below(256))
    const fill = async (rounds: number): Promise<void> => {
      for (let round = 0; round < rounds; round++) {
        await commit(
          store,
          Array.from({ length: 200 }, (_, at) => [bytes(8, at, chance.below(4)), filler()] as const),
        )
      }
    }
    if (where === 'in tables of several levels') await fill(30)
    await commit(store, [
      [bytes(8, 9), text(overwritten)],
      [bytes(8, 99, 9), text(removed)],
      [bytes(8, 199), text(kept)],
    ])
    if (where !== 'in memory') await fill(where === 'in one table' ? 2 : 40)
    await commit(store, [
      [bytes(8, 9), text('new')],
      [bytes(8, 99, 9), undefined],
    ])
    const inFiles = async (): Promise<string[]> => {
      let all = ''
      for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
        // LevelDB takes files away in the background.
        if (entry.isFile()) all += await readFile(join(entry.parentPath, entry.name), 'latin1').catch(() => '')
      }
      return [overwritten, removed, kept].filter((what) => all.includes(what))
    }
    // A table that is merged away meanwhile is read neither as it was nor as what it became.
    await expect.poll(inFiles).toEqual([overwritten, removed, kept])
    await store.compact()
    await expect.poll(inFiles).toEqual([kept])
    expect(store.get(bytes(8, 199))).toEqual(text(kept))
    expect((await store.scrub()).damages).toEqual([])
  },
)

/** Every file below a directory but LevelDB's locks and info logs, as name and bytes. */
async function contents(dir: string): Promise<Map<string, string>> {
  const files = new Map<string, string>()
  for (const entry of await readdir(dir, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile() || /^(LOCK|LOG|LOG\.old)$/.test(entry.name) || entry.parentPath.endsWith('lock')) continue
    const path = join(entry.parentPath, entry.name)
    files.set(path.slice(dir.length + 1), (await readFile(path)).toString('base64'))
  }
  return files
}

async function failureOf(run: () => Promise<unknown>): Promise<SkeinError> {
  try {
    await run()
  } catch (error) {
    expect(error).toBeInstanceOf(SkeinError)
    return error as SkeinError
  }
  throw new Error('it did not fail')
}

/** A copy of the directory of an open store: what a power cut that loses nothing would leave. */
async function crashCopy(dir: string): Promise<string> {
  const target = freshDir()
  await cp(dir, target, { recursive: true })
  return target
}

async function newestLog(dir: string): Promise<string> {
  const logs = (await listLevelFiles(join(dir, 'db'))).filter((file) => file.kind === 'log')
  return join(dir, 'db', (logs.at(-1) as { name: string }).name)
}

async function flip(path: string, offset: number, bit: number): Promise<void> {
  const file = await readFile(path)
  file[offset] = (file[offset] as number) ^ (1 << bit)
  await writeFile(path, file)
}

test('the checksum is that of the CRC-32C test vectors, at every length and seed', () => {
  expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe3069283)
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa)
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43)
  expect(maskCrc(crc32c(new TextEncoder().encode('foo')))).not.toBe(crc32c(new TextEncoder().encode('foo')))
  const chance = prng(3)
  const text = Uint8Array.from({ length: 300 }, () => chance.below(256))
  for (let cut = 0; cut <= 300; cut += 7) {
    expect(crc32c(text, cut, 300, crc32c(text, 0, cut))).toBe(crc32c(text))
  }
})

test('snappy: literals, near and far copies, overlaps; nonsense throws and claims no memory', () => {
  expect(snappyDecode(bytes(3, 0x08, 1, 2, 3))).toEqual(bytes(1, 2, 3))
  expect(snappyDecode(bytes(8, 0x04, 1, 2, 0x09, 2))).toEqual(bytes(1, 2, 1, 2, 1, 2, 1, 2))
  expect(() => snappyDecode(bytes(0xff, 0xff, 0xff, 0x7f, 0))).toThrow('claims too much')
  expect(() => snappyDecode(bytes(8, 0x04, 1, 2, 0x09, 3))).toThrow('outside')
  expect(() => snappyDecode(bytes(4, 0x04, 1, 2))).toThrow('too short')
})

describe('whose directory it is', () => {
  test('a second opener gets store_locked, in this process and in another', async () => {
    const dir = freshDir()
    await using store = await openLevelStore({ dir })
    await commit(store, [[bytes(1), bytes(1)]])
    const failure = await failureOf(() => openLevelStore({ dir, onDamage: 'set-aside' }))
    expect(failure.code).toBe('store_locked')
    expect(failure.message).toContain(dir)
    const script = `import { openLevelStore } from ${JSON.stringify(new URL('level.ts', import.meta.url).href)}
      await openLevelStore({ dir: ${JSON.stringify(dir)} }).catch((error) => console.log(error.code))`
    const output = execFileSync(process.execPath, ['--input-type=module-typescript', '-e', script], {
      encoding: 'utf8',
    })
    expect(output.trim()).toBe('store_locked')
    expect(store.get(bytes(1))).toEqual(bytes(1))
  })

  test('a newer format, a foreign directory and a directory that cannot be made', async () => {
    const newer = freshDir()
    await mkdir(newer)
    await writeFile(join(newer, 'format'), formatText(2, 'then'))
    expect(await codeOf(() => openLevelStore({ dir: newer, onDamage: 'set-aside' }))).toBe('store_newer')
    const foreign = freshDir()
    await mkdir(foreign)
    await writeFile(join(foreign, 'notes.txt'), 'mine')
    expect(await codeOf(() => openLevelStore({ dir: foreign, onDamage: 'set-aside' }))).toBe('store_foreign')
    expect(await readdir(foreign)).toEqual(['notes.txt'])
    expect(await codeOf(() => openLevelStore({ dir: join(foreign, 'notes.txt', 'deeper') }))).toBe('store_permission')
  })

  test('a creation that was cut short at any step is taken up again', async () => {
    const whole = freshDir()
    await (await openLevelStore({ dir: whole })).close()
    for (const step of [
      [],
      ['lock'],
      ['lock', 'format.new'],
      ['lock', 'format'],
      ['lock', 'format', 'db'],
      ['lock', 'format', 'mark'],
    ]) {
      const dir = freshDir()
      await mkdir(dir)
      for (const name of step) {
        if (name === 'db') await mkdir(join(dir, 'db'))
        else if (name === 'format.new') await writeFile(join(dir, name), '{"prod')
        else await cp(join(whole, name), join(dir, name), { recursive: true })
      }
      await using store = await openLevelStore({ dir })
      await commit(store, [[bytes(1), bytes(1)]])
      expect(store.opening.lastBatch).toBe(0)
    }
  })
})

describe('crashes', () => {
  test('a killed process loses nothing that was acknowledged', async () => {
    const dir = freshDir()
    const script = `import { openLevelStore } from ${JSON.stringify(new URL('level.ts', import.meta.url).href)}
      const store = await openLevelStore({ dir: ${JSON.stringify(dir)}, writeBufferBytes: 65536 })
      for (let n = 1; ; n++) {
        const batch = store.batch()
        for (let i = 0; i < 5; i++) batch.put(Uint8Array.of(1, i, n >> 8, n & 255), new Uint8Array(90).fill(n))
        await store.write(batch, n % 3 === 0 ? 'disk' : 'os')
        console.log(n)
      }`
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let told = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      told += text
      if (told.length > 3000) child.kill('SIGKILL')
    })
    await once(child, 'close')
    const last = Number(told.trimEnd().split('\n').at(-1))
    expect(last).toBeGreaterThan(500)
    await using store = await openLevelStore({ dir })
    expect(store.opening).toMatchObject({ found: 'unclean', warnings: [] })
    expect(store.opening.lostUnsynced).toBeUndefined()
    expect(store.lastBatch).toBeGreaterThanOrEqual(last)
    for (let n = 1; n <= last; n++) {
      for (let i = 0; i < 5; i++) expect(store.get(bytes(1, i, n >> 8, n & 255))?.[89]).toBe(n & 255)
    }
  })

  test('a tail that was acknowledged at `os` only is reported; one at `disk` is damage', async () => {
    for (const durability of ['os', 'disk'] as const) {
      const dir = freshDir()
      await using store = await openLevelStore({ dir })
      await commit(store, [[bytes(1), bytes(1)]], 'disk')
      const { size } = { size: (await readFile(await newestLog(dir))).length }
      await commit(store, [[bytes(2), bytes(2)]], durability)
      const copy = await crashCopy(dir)
      await truncate(await newestLog(copy), size)
      if (durability === 'disk') {
        const before = await contents(copy)
        const failure = await failureOf(() => openLevelStore({ dir: copy }))
        expect(failure.code).toBe('store_damaged')
        expect(failure.details['mayBeLost']).toMatchObject({ from: 2, to: 2 })
        expect(before.size).toBeGreaterThan(3)
        continue
      }
      await using again = await openLevelStore({ dir: copy })
      expect(again.opening).toMatchObject({ found: 'unclean', lastBatch: 1, lostUnsynced: { from: 2, to: 2 } })
      expect(again.get(bytes(1))).toEqual(bytes(1))
      expect(again.get(bytes(2))).toBeUndefined()
      await commit(again, [[bytes(3), bytes(3)]])
      expect(again.lastBatch).toBe(2)
    }
  })

  test('a database behind the mark by whole batches is found without any broken record', async () => {
    const dir = freshDir()
    const store = await openLevelStore({ dir })
    await commit(store, [[bytes(1), bytes(1)]])
    const earlier = await crashCopy(dir)
    await commit(store, [[bytes(2), bytes(2)]])
    await store.close()
    await rm(join(dir, 'db'), { recursive: true })
    await rename(join(earlier, 'db'), join(dir, 'db'))
    const failure = await failureOf(() => openLevelStore({ dir }))
    expect(failure.code).toBe('store_damaged')
    expect(failure.message).toContain('batches 2 to 2')
  })

  test('a database with another batch under the acknowledged number is found', async () => {
    const dir = freshDir()
    await (await openLevelStore({ dir })).close()
    const other = await crashCopy(dir)
    for (const [at, value] of [
      [dir, 1],
      [other, 2],
    ] as const) {
      await using store = await openLevelStore({ dir: at })
      await commit(store, [[bytes(1), bytes(value)]])
    }
    await cp(join(other, 'mark'), join(dir, 'mark'))
    const failure = await failureOf(() => openLevelStore({ dir }))
    expect(failure.code).toBe('store_damaged')
    expect(failure.message).toContain('is not the one that was acknowledged')
  })

  test('a batch lost from the middle is found, within the window and long after it', async () => {
    for (const later of [3, 1500]) {
      const dir = freshDir()
      const store = await openLevelStore({ dir })
      for (let i = 0; i < 1100; i++) await commit(store, [[bytes(1, i >> 8, i & 255), bytes(1)]], 'os')
      await store.close()
      const before = await crashCopy(dir)
      const rest = await openLevelStore({ dir })
      for (let i = 0; i <= later; i++) await commit(rest, [[bytes(2, i >> 8, i & 255), bytes(2)]], 'os')
      await rest.close()
      // What LevelDB makes of a damaged stretch of its log: batch 1101 never happened, those after it did. Each carried
      // its rows, its batch row, and the deletion of the batch row that leaves the window.
      const options = { keyEncoding: 'view', valueEncoding: 'view' } as const
      await using whole = new Level<Uint8Array, Uint8Array>(join(dir, 'db'), options)
      await using holed = new Level<Uint8Array, Uint8Array>(join(before, 'db'), options)
      const batchRow = (n: number): Uint8Array => bytes(0xff, 1, 0, 0, 0, 0, 0, 0, n >> 8, n & 255)
      for await (const [key, value] of whole.iterator({ gte: bytes(2, 0, 1), lt: bytes(3) }))
        await holed.put(key, value)
      for await (const [key, value] of whole.iterator({ gte: batchRow(1102) })) await holed.put(key, value)
      for (let n = 1102; n <= 1101 + later; n++) await holed.del(batchRow(n - 1024))
      await whole.close()
      await holed.close()
      await cp(join(dir, 'mark'), join(before, 'mark'))
      const failure = await failureOf(() => openLevelStore({ dir: before }))
      expect(failure.code).toBe('store_damaged')
      expect(failure.message).toContain(later === 3 ? 'chain of batches' : 'should have been deleted')
    }
  })

  test('without a readable mark the store opens and says so', async () => {
    const dir = freshDir()
    const store = await openLevelStore({ dir })
    await commit(store, [[bytes(1), bytes(1)]])
    await store.close()
    expect(readMark(join(dir, 'mark')).condition).toBe('whole')
    await writeFile(join(dir, 'mark'), new Uint8Array(5000))
    const again = await openLevelStore({ dir })
    expect(again.opening.warnings).toHaveLength(1)
    expect(again.opening.warnings[0]).toContain('mark')
    expect(again.get(bytes(1))).toEqual(bytes(1))
    await again.close()
    await using third = await openLevelStore({ dir })
    expect(third.opening).toMatchObject({ found: 'clean', warnings: [] })
  })
})

/** Several tables, a log with several blocks, overwritten and deleted rows: and what each key should be. */
async function sample(dir: string, clean: boolean): Promise<Map<number, number | undefined>> {
  const model = new Map<number, number | undefined>()
  const chance = prng(5)
  let store = await openLevelStore({ dir, writeBufferBytes: 64 * 1024 })
  for (let round = 0; round < 80; round++) {
    if (round === 30) {
      await store.close()
      store = await openLevelStore({ dir, writeBufferBytes: 64 * 1024 })
    }
    const rows: [Uint8Array, Uint8Array | undefined][] = []
    for (let i = 0; i < 12; i++) {
      const at = chance.below(300)
      const isDeletion = chance.chance(0.1)
      rows.push([keyOf(at), isDeletion ? undefined : valueFor(at, round)])
      model.set(at, isDeletion ? undefined : round)
    }
    await commit(store, rows, round % 4 === 0 ? 'os' : 'disk')
  }
  await commit(store, [[keyOf(0), valueFor(0, 99)]], 'disk')
  model.set(0, 99)
  if (clean) await store.close()
  else {
    const copy = await crashCopy(dir)
    await store.close()
    await rm(dir, { recursive: true })
    await rename(copy, dir)
  }
  return model
}

const keyOf = (at: number): Uint8Array => bytes(1 + (at % 3), at >> 8, at & 255, 7)

function valueFor(at: number, round: number): Uint8Array {
  const value = new Uint8Array(40 + ((at * 37 + round * 11) % 240))
  const chance = prng(at * 1000 + round)
  for (let i = 0; i < value.length; i++) value[i] = i % 3 === 0 ? 32 : chance.below(256)
  return value
}

type Verdict = 'right' | 'open' | 'read' | 'reported' | 'wrong'

/** Opens a damaged directory and reads every key: right everywhere, refused, or (what must never be) silently wrong. */
async function judge(
  dir: string,
  model: ReadonlyMap<number, number | undefined>,
  options: Partial<LevelStoreOptions> = {},
): Promise<Verdict> {
  let store: LevelStore
  try {
    store = await openLevelStore({ dir, ...options })
  } catch (error) {
    return error instanceof SkeinError && error.code === 'store_damaged' ? 'open' : 'wrong'
  }
  try {
    let verdict: Verdict = 'right'
    for (const [at, round] of model) {
      try {
        const value = store.get(keyOf(at))
        const expected = round === undefined ? undefined : valueFor(at, round)
        const isRight =
          value === undefined || expected === undefined ? value === expected : Buffer.compare(value, expected) === 0
        if (!isRight) return 'wrong'
      } catch (error) {
        if (!(error instanceof SkeinError) || error.code !== 'store_damaged') return 'wrong'
        verdict = 'read'
      }
    }
    return verdict === 'right' && store.opening.warnings.length > 0 ? 'reported' : verdict
  } finally {
    await store.close()
  }
}

describe('each guard by itself', () => {
  test('a log: a bad record with records behind it is damage, at the end it is torn, and no flip goes unseen', async () => {
    const dir = freshDir()
    await using store = await openLevelStore({ dir })
    for (let n = 0; n < 12; n++)
      await commit(store, [[bytes(1, n), new Uint8Array(n === 6 ? 40_000 : 200).fill(n)]], 'os')
    const log = await readFile(await newestLog(dir))
    expect(readLevelLog('log', log)).toEqual({ records: 12 })
    let lastRecord = 0
    for (let cut = log.length - 1; readLevelLog('log', log.subarray(0, cut)).records === 11; cut--) {
      lastRecord = cut
      const { torn, damage } = readLevelLog('log', log.subarray(0, cut))
      expect(damage).toBeUndefined()
      expect(torn === undefined ? cut : torn.offset + torn.lostBytes).toBe(cut)
    }
    const chance = prng(8)
    for (let i = 0; i < 400; i++) {
      const at = i < 40 ? log.length - 1 - i * 7 : chance.below(log.length)
      log[at] = (log[at] as number) ^ (1 << (i % 8))
      const { damage, torn } = readLevelLog('log', log)
      // Only the filler at the end of a block, which nobody reads, may be anything.
      const isFiller = at % 32768 > 32768 - 7 && damage === undefined && torn === undefined
      if (!isFiller)
        expect([at, at < lastRecord ? damage?.what.includes('follow') : torn !== undefined]).toEqual([at, true])
      log[at] = log[at] ^ (1 << (i % 8))
    }
  })

  test('a table that lost its end, and one that is gone, are named', async () => {
    const dir = freshDir()
    await sample(dir, true)
    const table = (await listLevelFiles(join(dir, 'db'))).find(({ kind }) => kind === 'table') as {
      name: string
      sizeBytes: number
    }
    for (const length of [table.sizeBytes - 1, 20, 0]) {
      await truncate(join(dir, 'db', table.name), length)
      const { damages } = await verifyLevelFiles(join(dir, 'db'), { boundBytes: 0 })
      expect(damages).toMatchObject([{ file: table.name, what: `the table should have ${table.sizeBytes} bytes` }])
    }
    await rm(join(dir, 'db', table.name))
    const { damages } = await verifyLevelFiles(join(dir, 'db'), { boundBytes: 0 })
    expect(damages).toMatchObject([{ file: table.name, what: 'the table is gone' }])
  })

  test('a broken record after a close in order is damage, though the mark misses nothing', async () => {
    const dir = freshDir()
    await (await openLevelStore({ dir })).close()
    await writeFile(await newestLog(dir), bytes(1, 2, 3, 4, 5, 0, 1, 8))
    expect(await codeOf(() => openLevelStore({ dir }))).toBe('store_damaged')
  })

  test('no flipped bit of the format is taken for a newer version or a foreign directory', async () => {
    const dir = freshDir()
    await (await openLevelStore({ dir })).close()
    const format = await readFile(join(dir, 'format'))
    for (let at = 0; at < format.length; at++) {
      await flip(join(dir, 'format'), at, at % 7)
      expect([at, await codeOf(() => openLevelStore({ dir }))]).toEqual([at, 'store_damaged'])
      await writeFile(join(dir, 'format'), format)
    }
  })

  test('a missing batch row, and one that does not continue the one before it, break the chain', async () => {
    const dirs = [freshDir(), freshDir()]
    for (const dir of dirs) {
      await using store = await openLevelStore({ dir })
      for (let n = 1; n <= 5; n++)
        await commit(store, [
          [bytes(1), bytes(n)],
          [bytes(2), bytes(dirs.indexOf(dir))],
        ])
    }
    const [dir, other] = dirs as [string, string]
    const row = bytes(0xff, 1, 0, 0, 0, 0, 0, 0, 0, 3)
    const options = { keyEncoding: 'view', valueEncoding: 'view' } as const
    await using source = new Level<Uint8Array, Uint8Array>(join(other, 'db'), options)
    for (const [value, words] of [
      [await source.get(row), 'does not continue'],
      [undefined, 'batches 3 to 3 are missing'],
    ] as const) {
      const raw = new Level<Uint8Array, Uint8Array>(join(dir, 'db'), options)
      await (value === undefined ? raw.del(row) : raw.put(row, value))
      await raw.close()
      expect((await failureOf(() => openLevelStore({ dir }))).message).toContain(words)
    }
  })
})

describe('damage', () => {
  for (const clean of [true, false]) {
    test(`no flipped bit and no cut is silently wrong, after a ${clean ? 'close in order' : 'crash'}`, async () => {
      const dir = freshDir()
      const model = await sample(dir, clean)
      const files = [...(await contents(dir)).keys()]
      expect(files.filter((file) => file.endsWith('.ldb')).length).toBeGreaterThan(1)
      expect(files.filter((file) => file.endsWith('.log')).length).toBeGreaterThan(0)
      expect(await judge(await crashCopy(dir), model)).toBe('right')
      const chance = prng(clean ? 21 : 22)
      const tally: Record<Verdict, number> = { right: 0, open: 0, read: 0, reported: 0, wrong: 0 }
      const wrong: string[] = []
      const attempt = async (what: string, file: string, change: (bytes: Buffer) => Buffer): Promise<void> => {
        const copy = freshDir()
        await mkdir(join(copy, 'db'), { recursive: true })
        for (const name of files) if (name !== file) await symlinkOrCopy(join(dir, name), join(copy, name))
        await writeFile(join(copy, file), change(await readFile(join(dir, file))))
        const verdict = await judge(copy, model)
        tally[verdict]++
        if (verdict === 'wrong') wrong.push(`${file} ${what}`)
        await rm(copy, { recursive: true })
      }
      for (const file of files) {
        const size = (await readFile(join(dir, file))).length
        const flips = Math.min(11, size)
        for (let i = 0; i < flips; i++) {
          const offset = i < 3 ? size - 1 - i * 5 : Math.floor(((i - 3 + chance.below(100) / 100) / (flips - 3)) * size)
          const at = Math.max(0, Math.min(size - 1, offset))
          const bit = chance.below(8)
          await attempt(`bit ${bit} of ${at}`, file, (all) => {
            all[at] = (all[at] as number) ^ (1 << bit)
            return all
          })
        }
        for (let i = size > 0 ? 0 : 4; i < 4; i++) {
          const length = i === 0 ? 0 : i === 1 ? size - 1 : chance.below(size)
          await attempt(`cut at ${length}`, file, (all) => all.subarray(0, length))
        }
      }
      expect(wrong).toEqual([])
      expect(tally.open).toBeGreaterThan(40)
    })
  }

  test('refusing writes nothing, and setting aside keeps every byte and starts empty', async () => {
    const dir = freshDir()
    await sample(dir, true)
    const table = (await listLevelFiles(join(dir, 'db'))).find((file) => file.kind === 'table') as { name: string }
    await flip(join(dir, 'db', table.name), 100, 3)
    const before = await contents(dir)
    const failure = await failureOf(() => openLevelStore({ dir }))
    expect(failure.code).toBe('store_damaged')
    expect(failure.message).toContain(table.name)
    expect(failure.message).toContain('batches 1 to 81')
    expect(await contents(dir)).toEqual(before)
    await using store = await openLevelStore({ dir, onDamage: 'set-aside' })
    expect(store.opening).toMatchObject({ found: 'fresh', lastBatch: 0, setAside: { mayBeLost: { from: 1, to: 81 } } })
    const aside = store.opening.setAside as { path: string }
    expect(aside.path.startsWith(`${dir}.damaged-`)).toBe(true)
    expect(await contents(aside.path)).toEqual(before)
    await commit(store, [[bytes(1), bytes(1)]])
  })

  test('beyond the bound tables are left alone at opening; a read throws, the scrub reports keys, and the rest is readable', async () => {
    const dir = freshDir()
    const model = await sample(dir, true)
    // A bit in the midst of a live value, found by its bytes: the values do not compress.
    let damaged = ''
    for (const { name, kind } of await listLevelFiles(join(dir, 'db'))) {
      if (kind !== 'table') continue
      const table = await readFile(join(dir, 'db', name))
      for (const [at, round] of model) {
        const found = round === undefined ? -1 : table.indexOf(valueFor(at, round).subarray(4, 36))
        if (found === -1 || damaged === name) continue
        await flip(join(dir, 'db', name), found + 12, 2)
        damaged = name
      }
    }
    expect(await judge(await crashCopy(dir), model)).toBe('open')
    expect(await judge(dir, model, { verifyBytes: 0 })).toBe('read')
    await using store = await openLevelStore({ dir, verifyBytes: 0 })
    const report = await store.scrub()
    expect(report.complete).toBe(true)
    // In the file, or, where a compaction has already carried it on under a new checksum of LevelDB's, in the row.
    expect(
      report.damages.some(
        ({ file, lastKey }) => (file ?? `db/${damaged}`) === `db/${damaged}` && lastKey !== undefined,
      ),
    ).toBe(true)
    const stopped = await store.scrub({ signal: AbortSignal.abort() })
    expect(stopped.complete).toBe(false)
  })

  test('a wrong value that LevelDB itself would return is refused by its own checksum', async () => {
    const dir = freshDir()
    const store = await openLevelStore({ dir })
    await commit(store, [
      [bytes(1), bytes(1, 2, 3)],
      [bytes(2), bytes(4, 5, 6)],
    ])
    await store.close()
    const raw = new Level<Uint8Array, Uint8Array>(join(dir, 'db'), { keyEncoding: 'view', valueEncoding: 'view' })
    const stored = (await raw.get(bytes(1))) as Uint8Array
    await raw.put(bytes(3), stored)
    stored[0] = (stored[0] as number) ^ 1
    await raw.put(bytes(1), stored)
    await raw.close()
    await using again = await openLevelStore({ dir })
    for (const key of [bytes(1), bytes(3)]) {
      const failure = await failureOf(async () => again.get(key))
      expect(failure).toMatchObject({ code: 'store_damaged', details: { key } })
    }
    expect(again.get(bytes(2))).toEqual(bytes(4, 5, 6))
    expect(await codeOf(() => collect(again.range({ gte: bytes(0), lt: bytes(9) })))).toBe('store_damaged')
    const { damages } = await again.scrub()
    expect(damages.map(({ firstKey }) => firstKey?.[0])).toEqual([1, 3])
  })
})

test('a full disk: writes are refused, reads go on, and with space the same batch is written once', async ({
  skip,
}) => {
  const mount = join(root, 'small')
  await mkdir(mount)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', mount], { stdio: 'pipe' })
  } catch {
    return skip('a small tmpfs cannot be mounted here')
  }
  try {
    const dir = join(mount, 'data')
    const store = await openLevelStore({ dir, writeBufferBytes: 512 * 1024 })
    await commit(store, [[bytes(1), bytes(1)]])
    const ballast = join(mount, 'ballast')
    await writeFile(ballast, new Uint8Array(2_000_000))
    const chance = prng(1)
    const noise = (): Uint8Array => Uint8Array.from({ length: 50_000 }, () => chance.below(256))
    let written = 0
    let batch = store.batch()
    let code: string = 'none'
    for (; written < 100 && code === 'none';) {
      batch = store.batch()
      batch.put(bytes(2, written + 1), noise())
      code = await codeOf(() => store.write(batch, 'disk'))
      if (code === 'none') written++
    }
    expect(code).toBe('store_full')
    expect(store.status).toBe('failing')
    expect(store.get(bytes(1))).toEqual(bytes(1))
    expect(await codeOf(() => store.write(batch, 'disk'))).toBe('store_full')
    for (let i = 1; i <= written; i++) expect(store.get(bytes(2, i))?.length).toBe(50_000)
    await rm(ballast)
    await store.write(batch, 'disk')
    expect(store.status).toBe('open')
    expect(store.lastBatch).toBe(written + 2)
    await commit(store, [[bytes(3), bytes(3)]])
    await store.close()
    const again = await openLevelStore({ dir })
    for (let i = 1; i <= written + 1; i++) expect(again.get(bytes(2, i))?.length).toBe(50_000)
    expect(again.opening).toMatchObject({ found: 'clean', lastBatch: written + 3 })
    await again.close()
  } finally {
    execFileSync('umount', ['-l', mount])
  }
})

test('a batch that arrived though its write failed is known again and not applied twice', async () => {
  const dir = freshDir()
  await using store = await openLevelStore({ dir })
  await commit(store, [[bytes(1), bytes(1)]])
  const elsewhere = new Level(freshDir())
  await elsewhere.open()
  const chained = elsewhere.batch()
  const prototype = Object.getPrototypeOf(chained) as { _write: (this: unknown, options: object) => Promise<void> }
  await chained.close()
  await elsewhere.close()
  const original = prototype._write
  const failAfter = (arrives: boolean): void => {
    prototype._write = async function (options) {
      prototype._write = original
      if (arrives) await original.call(this, options)
      throw new Error('IO error: 000005.log: Input/output error')
    }
  }
  for (const [round, arrives] of [true, false, true].entries()) {
    failAfter(arrives)
    const batch = store.batch()
    batch.put(bytes(2, round), bytes(2))
    expect(await codeOf(() => store.write(batch, 'disk'))).toBe('store_failed')
    expect(store.status).toBe('failing')
    expect(store.lastBatch).toBe(1 + round)
    const retry = store.write(batch, 'disk')
    // Only in this window do reads have nobody to ask, and they say so.
    const seen = new Set<string>()
    const watching = setInterval(() => void codeOf(() => store.get(bytes(1))).then((code) => seen.add(code)), 0)
    await retry
    clearInterval(watching)
    expect([...seen].filter((code) => code !== 'none' && code !== 'busy')).toEqual([])
    expect(store.status).toBe('open')
    expect(store.lastBatch).toBe(2 + round)
    expect(store.get(bytes(2, round))).toEqual(bytes(2))
  }
})

test('the files of a live store verify, whatever it is writing', async () => {
  const dir = freshDir()
  await using store = await openLevelStore({ dir, writeBufferBytes: 64 * 1024 })
  const progress = { isDone: false }
  const writing = (async () => {
    for (let n = 0; n < 300; n++) await commit(store, [[bytes(1, n & 255), new Uint8Array(900).fill(n)]], 'os')
    progress.isDone = true
  })()
  while (!progress.isDone) {
    expect((await store.scrub()).damages).toEqual([])
    const report = await verifyLevelFiles(join(dir, 'db'), { boundBytes: Infinity, live: true })
    expect(report.damages).toEqual([])
  }
  await writing
})

async function symlinkOrCopy(from: string, to: string): Promise<void> {
  // Tables are never changed in place; what LevelDB appends to or replaces is copied.
  if (from.endsWith('.ldb')) await symlink(from, to)
  else await cp(from, to)
}
