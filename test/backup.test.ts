import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { backup, openNode, restore } from '../src/index.ts'

let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skein-backup-test-'))
})

afterEach(() => rm(dir, { recursive: true, force: true }))

const coded = (code: string): unknown => expect.objectContaining({ code })

async function filled(): Promise<void> {
  await using node = await openNode({ dir: join(dir, 'data') })
  const space = node.space('s')
  for (let i = 0; i < 500; i++) space.record(`k${i}`).set({ i, pad: 'x'.repeat(100) })
  space.budget('b').grant(100)
  space.budget('b').spend(40)
  await Promise.all([backup(node, join(dir, 'one')), space.counter('meanwhile').incr().durable])
}

test('[B1] a backup taken while the node writes comes back whole, under a new incarnation', async () => {
  await filled()
  const report = await restore(join(dir, 'one'), join(dir, 'again') + '/', {
    identity: join(dir, 'data', 'identity.key'),
  })
  expect(report.rows).toBeGreaterThan(1000)
  await using old = await openNode({ dir: join(dir, 'data') })
  await using node = await openNode({ dir: join(dir, 'again') })
  expect(node.status().origin).not.toBe(old.status().origin)
  expect(node.id).toBe(old.id)
  for (let i = 0; i < 500; i++) expect(node.space('s').record(`k${i}`).get().value).toMatchObject({ i })
  node.space('s').budget('b').spend(60)
  expect(() => node.space('s').budget('b').spend(1)).toThrow(coded('budget_exceeded'))
})

test('[B2] nothing that is there is overwritten or removed, and a failure leaves nothing behind', async () => {
  await filled()
  await mkdir(join(dir, 'again.partial'))
  await writeFile(join(dir, 'again.partial', 'thesis.txt'), 'mine')
  await writeFile(join(dir, 'two.partial'), 'mine')
  await restore(join(dir, 'one'), join(dir, 'again'))
  expect(await readFile(join(dir, 'again.partial', 'thesis.txt'), 'utf8')).toBe('mine')
  await expect(restore(join(dir, 'one'), join(dir, 'again'))).rejects.toMatchObject({ code: 'target_exists' })
  await using node = await openNode({ dir: join(dir, 'data') })
  const both = await Promise.allSettled([backup(node, join(dir, 'two')), backup(node, join(dir, 'two'))])
  expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  expect(both.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'target_exists' } })
  await expect(backup(node, join(dir, 'no', 'such', 'place'))).rejects.toMatchObject({ code: 'file_failed' })
  expect(await readFile(join(dir, 'two.partial'), 'utf8')).toBe('mine')
  expect((await readdir(dir)).toSorted()).toEqual(['again', 'again.partial', 'data', 'one', 'two', 'two.partial'])
})

test('[B3] a file that is cut, flipped or something else is refused before anything is made', async () => {
  await filled()
  const good = await readFile(join(dir, 'one'))
  for (let i = 0; i < 40; i++) {
    const bad = Buffer.from(good)
    if (i % 2 === 0) bad[Math.floor((i / 40) * bad.length)]! ^= 1
    await writeFile(join(dir, 'bad'), i % 2 === 0 ? bad : bad.subarray(0, Math.floor((i / 40) * bad.length)))
    await expect(restore(join(dir, 'bad'), join(dir, 'made'))).rejects.toMatchObject({ code: 'backup_invalid' })
  }
  expect(await readdir(dir)).not.toContain('made')
})
