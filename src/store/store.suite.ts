/**
 * The contract suite of store.ts: an adapter proves itself with a ten-line test that calls `storeSuite`. What an adapter
 * cannot do it says in `supports`, and the cases that need it are skipped for it.
 */
import { afterEach, describe, expect, test } from 'vitest'
import { compareBytes } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'
import { prng } from '../base/prng.ts'
import { reaches, reservedByte } from './store.ts'
import type { Durability, Row, RowRange, Store } from './store.ts'

export interface StoreUnderTest {
  readonly store: Store
  /** Closes it in order and opens it again; absent where nothing is kept. */
  readonly reopen?: () => Promise<Store>
  readonly cleanUp?: () => Promise<void>
}

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const everything: RowRange = { gte: bytes(0), lt: bytes(reservedByte) }

export async function collect(source: AsyncIterable<readonly Row[]>): Promise<Row[]> {
  const rows: Row[] = []
  for await (const page of source) {
    expect(page.length).toBeGreaterThan(0)
    rows.push(...page)
  }
  return rows
}

/** The code of the error that `run` ends with, or the word `none`. */
export async function codeOf(run: () => unknown): Promise<ErrorCode | 'none' | 'other'> {
  try {
    await run()
    return 'none'
  } catch (error) {
    return error instanceof SkeinError ? error.code : 'other'
  }
}

export async function commit(
  store: Store,
  rows: readonly (readonly [Uint8Array, Uint8Array | undefined])[],
  durability: Durability = store.supports.durability,
): Promise<void> {
  const batch = store.batch()
  for (const [key, value] of rows) {
    if (value === undefined) batch.del(key)
    else batch.put(key, value)
  }
  await store.write(batch, durability)
}

export function storeSuite(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`${name} keeps the store contract`, () => {
    const cleanUps: (() => Promise<void>)[] = []
    afterEach(async () => {
      for (const cleanUp of cleanUps.splice(0)) await cleanUp()
    })
    const fresh = async (): Promise<StoreUnderTest> => {
      const under = await open()
      cleanUps.push(async () => {
        await under.store.close()
        await under.cleanUp?.()
      })
      return under
    }
    const freshStore = async (): Promise<Store> => (await fresh()).store

    test('a fresh store is empty and says so', async () => {
      const store = await freshStore()
      expect(store.opening).toMatchObject({ found: 'fresh', lastBatch: 0, warnings: [] })
      expect(store.status).toBe('open')
      expect(store.get(bytes(1))).toBeUndefined()
      expect(await collect(store.range(everything))).toEqual([])
    })

    test('a batch is visible when its write resolves, not before, and whole', async () => {
      const store = await freshStore()
      const batch = store.batch()
      batch.put(bytes(1), bytes(10))
      batch.put(bytes(2), bytes(20))
      expect(batch.count).toBe(2)
      expect(batch.sizeBytes).toBe(4)
      expect(store.get(bytes(1))).toBeUndefined()
      const written = store.write(batch, store.supports.durability)
      await written
      expect(store.get(bytes(1))).toEqual(bytes(10))
      expect(store.get(bytes(2))).toEqual(bytes(20))
      expect(store.lastBatch).toBe(1)
    })

    test('of several operations on one key in a batch the last holds', async () => {
      const store = await freshStore()
      await commit(store, [
        [bytes(1), bytes(1)],
        [bytes(1), undefined],
        [bytes(2), bytes(1)],
        [bytes(2), bytes(2)],
        [bytes(3), undefined],
        [bytes(3), bytes(3)],
      ])
      expect(store.get(bytes(1))).toBeUndefined()
      expect(store.get(bytes(2))).toEqual(bytes(2))
      expect(store.get(bytes(3))).toEqual(bytes(3))
    })

    test('callers may reuse their buffers at once', async () => {
      const store = await freshStore()
      const scratch = new Uint8Array(64)
      const batch = store.batch()
      for (let i = 1; i < 200; i++) {
        scratch.fill(i)
        batch.put(scratch.subarray(3, 5), scratch.subarray(10, 10 + (i % 20)))
      }
      scratch.fill(0)
      await store.write(batch, store.supports.durability)
      for (let i = 1; i < 200; i++) expect(store.get(bytes(i, i))).toEqual(new Uint8Array(i % 20).fill(i))
    })

    test('keys of all bytes, empty values and large values come back as they were', async () => {
      const store = await freshStore()
      const large = new Uint8Array(3 * 1024 * 1024)
      for (let i = 0; i < large.length; i++) large[i] = (i * 2654435761) >>> 24
      const rows: [Uint8Array, Uint8Array][] = [[bytes(7, 7, 7), large]]
      for (let byte = 0; byte < 256; byte++) rows.push([bytes(5, byte), bytes(byte)], [bytes(5, byte, 0), bytes()])
      for (let byte = 0; byte < reservedByte; byte++) rows.push([bytes(byte), bytes()])
      await commit(store, rows)
      for (const [key, value] of rows) expect(Buffer.compare(store.get(key) as Uint8Array, value)).toBe(0)
      const found = await collect(store.range(everything))
      expect(found.map(([key]) => key)).toEqual(rows.map(([key]) => key).sort(compareBytes))
    })

    test('ranges are half open, ordered bytewise, forwards and backwards, over many pages', async () => {
      const store = await freshStore()
      const chance = prng(7)
      const keys = new Map<string, Uint8Array>()
      while (keys.size < 3000) {
        const key = Uint8Array.from({ length: 1 + chance.below(4) }, () => chance.below(256))
        if (key[0] !== reservedByte) keys.set(key.join(), key)
      }
      await commit(
        store,
        [...keys.values()].map((key) => [key, key] as const),
      )
      const sorted = [...keys.values()].sort(compareBytes)
      for (let round = 0; round < 25; round++) {
        const gte = sorted[chance.below(3000)] as Uint8Array
        const lt = round === 0 ? bytes(reservedByte, 9) : (sorted[chance.below(3000)] as Uint8Array)
        const expected = sorted.filter((key) => compareBytes(key, gte) >= 0 && compareBytes(key, lt) < 0)
        const forwards = (await collect(store.range({ gte, lt }))).map(([key]) => Buffer.from(key).toString('hex'))
        expect(forwards).toEqual(expected.map((key) => Buffer.from(key).toString('hex')))
        const backwards = await collect(store.range({ gte, lt, reverse: true }))
        expect(backwards.map(([key]) => Buffer.from(key).toString('hex'))).toEqual(forwards.reverse())
      }
      let pages = 0
      for await (const _page of store.range(everything)) pages++
      expect(pages).toBeGreaterThan(1)
    })

    test('a range and a snapshot show one moment, whatever is written meanwhile', async () => {
      const store = await freshStore()
      const rows = Array.from({ length: 2000 }, (_, i) => [bytes(1, i >> 8, i & 255), bytes(1)] as const)
      await commit(store, rows)
      using snapshot = store.snapshot()
      const seen: Row[] = []
      let isFirst = true
      for await (const page of store.range(everything)) {
        seen.push(...page)
        if (!isFirst) continue
        isFirst = false
        await commit(
          store,
          rows.map(([key], i) => [key, i % 2 === 0 ? undefined : bytes(2)] as const),
        )
        await commit(store, [[bytes(1, 0, 0, 5), bytes(3)]])
      }
      expect(seen.length).toBe(2000)
      expect(seen.every(([, value]) => value[0] === 1)).toBe(true)
      expect(snapshot.get(bytes(1, 0, 0))).toEqual(bytes(1))
      expect(snapshot.get(bytes(1, 0, 0, 5))).toBeUndefined()
      expect((await collect(snapshot.range(everything))).length).toBe(2000)
      expect(store.get(bytes(1, 0, 0))).toBeUndefined()
      expect((await collect(store.range(everything))).length).toBe(1001)
    })

    test('what is read does not change when its key is written again', async () => {
      const store = await freshStore()
      await commit(store, [[bytes(1), bytes(1, 2, 3)]])
      const value = store.get(bytes(1))
      await commit(store, [[bytes(1), bytes(9, 9, 9)]])
      expect(value).toEqual(bytes(1, 2, 3))
    })

    test('random batches against a model', async () => {
      const under = await fresh()
      let { store } = under
      const chance = prng(11)
      const model = new Map<number, number>()
      for (let round = 0; round < 120; round++) {
        const rows: [Uint8Array, Uint8Array | undefined][] = []
        for (let i = chance.below(30); i >= 0; i--) {
          const at = chance.below(300)
          const isDeletion = chance.chance(0.3)
          rows.push([bytes(1, at >> 8, at & 255), isDeletion ? undefined : bytes(round)])
          if (isDeletion) model.delete(at)
          else model.set(at, round)
        }
        await commit(store, rows)
        if (round % 40 === 39) {
          if (under.reopen) store = await under.reopen()
          const found = (await collect(store.range(everything))).map(([key, value]) => [
            ((key[1] as number) << 8) | (key[2] as number),
            value[0],
          ])
          expect(found).toEqual([...model].sort(([a], [b]) => a - b))
        }
      }
      if (under.reopen) await store.close()
    })

    test('reserved and empty keys are a broken invariant', async () => {
      const store = await freshStore()
      const batch = store.batch()
      for (const key of [bytes(), bytes(reservedByte), bytes(reservedByte, 1, 2)]) {
        expect(() => batch.put(key, bytes(1))).toThrow('broken invariant')
        expect(() => batch.del(key)).toThrow('broken invariant')
        expect(() => store.get(key)).toThrow('broken invariant')
      }
      expect(batch.count).toBe(0)
    })

    test('only one write is in flight, and a batch is written once', async () => {
      const store = await freshStore()
      const batch = store.batch()
      batch.put(bytes(1), bytes(1))
      const written = store.write(batch, store.supports.durability)
      const second = store.batch()
      await expect((async () => store.write(second, store.supports.durability))()).rejects.toThrow('in flight')
      await written
      await expect((async () => store.write(batch, store.supports.durability))()).rejects.toThrow('written once')
      expect(() => batch.put(bytes(2), bytes(2))).toThrow('not filled again')
    })

    test('every supported durability works, and a higher one is refused with the reason', async () => {
      const store = await freshStore()
      for (const durability of ['memory', 'os', 'disk'] as const) {
        const write = (): Promise<void> => commit(store, [[bytes(1), bytes(1)]], durability)
        if (reaches(store.supports.durability, durability)) await write()
        else {
          expect(await codeOf(write)).toBe('invalid_argument')
          expect(store.supports.reason).toBeTruthy()
        }
      }
    })

    test('an empty batch is a barrier and no change', async () => {
      const store = await freshStore()
      await commit(store, [])
      expect(await collect(store.range(everything))).toEqual([])
    })

    test('a scrub of a sound store reads every row and reports nothing', async () => {
      const store = await freshStore()
      await commit(
        store,
        Array.from({ length: 700 }, (_, i) => [bytes(1, i >> 8, i & 255), bytes(i & 255)] as const),
      )
      const report = await store.scrub()
      expect(report).toMatchObject({ damages: [], complete: true })
      expect(report.rows).toBeGreaterThanOrEqual(700)
    })

    test('compacting changes nothing that is read', async () => {
      const store = await freshStore()
      await commit(store, [
        [bytes(1), bytes(1)],
        [bytes(2), bytes(2)],
      ])
      await commit(store, [[bytes(1), undefined]])
      const before = await collect(store.range(everything))
      await store.compact()
      expect(await collect(store.range(everything))).toEqual(before)
      await commit(store, [[bytes(3), bytes(3)]])
      expect(await collect(store.range(everything))).toHaveLength(2)
    })

    test('after close everything answers `closed`, and a scan under way ends with it', async () => {
      const store = await freshStore()
      await commit(
        store,
        Array.from({ length: 2000 }, (_, i) => [bytes(1, i >> 8, i & 255), bytes(1)] as const),
      )
      const scan = store.range(everything)[Symbol.asyncIterator]()
      expect((await scan.next()).done).toBe(false)
      const snapshot = store.snapshot()
      const batch = store.batch()
      batch.put(bytes(9), bytes(9))
      const inFlight = store.write(batch, store.supports.durability)
      const closing = store.close()
      await inFlight.catch((error: unknown) => expect((error as SkeinError).code).toBe('closed'))
      await closing
      await store.close()
      expect(store.status).toBe('closed')
      expect(await codeOf(() => scan.next())).toBe('closed')
      expect(await codeOf(() => store.get(bytes(1)))).toBe('closed')
      expect(await codeOf(() => store.batch())).toBe('closed')
      expect(await codeOf(() => store.snapshot())).toBe('closed')
      expect(await codeOf(() => snapshot.get(bytes(1)))).toBe('closed')
      expect(await codeOf(() => collect(store.range(everything)))).toBe('closed')
      expect(await codeOf(() => store.scrub())).toBe('closed')
      snapshot[Symbol.dispose]()
    })

    test('reopening keeps every row and the number of the last batch', async ({ skip }) => {
      const { store, reopen } = await fresh()
      if (reopen === undefined) return skip(`${name} keeps nothing`)
      for (let i = 0; i < 50; i++) await commit(store, [[bytes(1, i), bytes(i)]], i % 2 === 0 ? 'os' : 'disk')
      let again = await reopen()
      expect(again.opening).toMatchObject({ found: 'clean', lastBatch: 50, warnings: [] })
      expect((await collect(again.range(everything))).map(([key, value]) => [key[1], value[0]])).toEqual(
        Array.from({ length: 50 }, (_, i) => [i, i]),
      )
      await commit(again, [[bytes(1, 0), undefined]])
      again = await reopen()
      expect(again.lastBatch).toBe(51)
      expect(again.get(bytes(1, 0))).toBeUndefined()
      await again.close()
    })
  })
}
