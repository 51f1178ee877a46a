import { expect, test } from 'vitest'
import { prng } from '../base/prng.ts'
import { FaultyStore, openCrashableStore } from './faulty.ts'
import { openMemoryStore } from './memory.ts'
import { codeOf, commit, storeSuite } from './store.suite.ts'

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)

storeSuite('memory', async () => ({ store: openMemoryStore() }))
storeSuite('a faulty store without faults', async () => ({ store: new FaultyStore(openMemoryStore()) }))
storeSuite('a crashable store', async () => ({ store: openCrashableStore() }))

test('an ordered failure leaves the batch to be written again', async () => {
  const store = new FaultyStore(openMemoryStore())
  store.failWrites(2)
  const batch = store.batch()
  batch.put(bytes(1), bytes(1))
  for (let i = 0; i < 2; i++) {
    expect(await codeOf(() => store.write(batch, 'memory'))).toBe('store_full')
    expect(store.status).toBe('failing')
    expect(store.get(bytes(1))).toBeUndefined()
  }
  await store.write(batch, 'memory')
  expect(store.status).toBe('open')
  expect(store.get(bytes(1))).toEqual(bytes(1))
  expect(store.lastBatch).toBe(1)
})

test('a batch that arrived though its write failed is not applied twice', async () => {
  const store = new FaultyStore(openMemoryStore())
  store.failWrites(1, 'store_failed', true)
  const batch = store.batch()
  batch.put(bytes(1), bytes(1))
  expect(await codeOf(() => store.write(batch, 'memory'))).toBe('store_failed')
  await store.write(batch, 'memory')
  expect(store.lastBatch).toBe(1)
})

test('held writes wait until they are released, and damaged reads throw', async () => {
  const store = new FaultyStore(openMemoryStore())
  store.holdWrites()
  let written = false
  const writing = commit(store, [[bytes(1), bytes(1)]]).then(() => (written = true))
  await new Promise((resolve) => setTimeout(resolve, 5))
  expect(written).toBe(false)
  store.release()
  await writing
  store.damageReads((key) => key[0] === 1)
  expect(await codeOf(() => store.get(bytes(1)))).toBe('store_damaged')
  expect(store.get(bytes(2))).toBeUndefined()
})

test('a crash of the process keeps `os`, a power cut keeps `disk` and a prefix of the rest', async () => {
  for (let seed = 0; seed < 30; seed++) {
    const store = openCrashableStore()
    for (let i = 1; i <= 3; i++) await commit(store, [[bytes(i), bytes(i)]], 'os')
    await commit(
      store,
      [
        [bytes(4), bytes(4)],
        [bytes(1), undefined],
      ],
      'disk',
    )
    for (let i = 5; i <= 8; i++) await commit(store, [[bytes(i), bytes(i)]], 'os')
    const afterKill = store.crashProcess()
    expect(await codeOf(() => store.get(bytes(4)))).toBe('closed')
    for (let i = 2; i <= 8; i++) expect(afterKill.get(bytes(i))).toEqual(bytes(i))
    expect(afterKill.opening).toMatchObject({ found: 'unclean', lastBatch: 8 })
    for (let i = 9; i <= 12; i++) await commit(afterKill, [[bytes(i), bytes(i)]], 'os')
    const afterCut = afterKill.crashPower('prefix', prng(seed))
    expect(afterCut.get(bytes(1))).toBeUndefined()
    for (let i = 2; i <= 8; i++) expect(afterCut.get(bytes(i))).toEqual(bytes(i))
    const { lastBatch } = afterCut
    for (let i = 9; i <= 12; i++) expect(afterCut.get(bytes(i)) !== undefined).toBe(i <= lastBatch)
    expect(afterCut.opening.lostUnsynced).toEqual(lastBatch < 12 ? { from: lastBatch + 1, to: 12 } : undefined)
  }
})
