import { chmod, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { verify, createPublicKey } from 'node:crypto'
import { afterEach, expect, test } from 'vitest'
import { fromHex, toHex } from '../../base/bytes.ts'
import { codeOf } from '../../transport/transport.suite.ts'
import { ephemeralIdentity, identityOf, openIdentity } from './identity.ts'

const dirs: string[] = []
async function freshDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'skein-identity-'))
  dirs.push(dir)
  return dir
}
afterEach(async () => {
  for (const dir of dirs.splice(0)) await rm(dir, { recursive: true })
})

test('the identity of RFC 8032, test 1', () => {
  const secret = fromHex('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60')
  const identity = identityOf(secret)
  const { publicKey, node } = identity
  expect(toHex(publicKey)).toBe('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')
  expect(node).toBe('21fe31dfa154a261')
  expect(toHex(identity.sign(new Uint8Array(0))).slice(0, 32)).toBe('e5564300c360ac729086e2cc806e828a')
})

test('[K12] it is made once, for this user alone, and is the same at the next opening', async () => {
  const dir = await freshDir()
  const first = await openIdentity(dir, undefined)
  expect(await readdir(dir)).toEqual(['identity.key'])
  if (process.platform !== 'win32') expect((await stat(join(dir, 'identity.key'))).mode & 0o777).toBe(0o600)
  expect(await readFile(join(dir, 'identity.key'), 'utf8')).toMatch(/^ski1_[\w-]{48}\n$/)
  for (const known of [undefined, first.node]) {
    const again = await openIdentity(dir, known)
    expect(again.node).toBe(first.node)
    const x = Buffer.from(again.publicKey).toString('base64url')
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
    expect(verify(null, fromHex('0102'), publicKey, first.sign(fromHex('0102')))).toBe(true)
  }
  expect(ephemeralIdentity().node).not.toBe(first.node)
})

test('what a crash left is no identity', async () => {
  const dir = await freshDir()
  await writeFile(join(dir, 'identity.key.new'), 'ski1_ha', { mode: 0o644 })
  await openIdentity(dir, undefined)
  expect(await readdir(dir)).toEqual(['identity.key'])
})

test('[K12] one that is damaged, gone, unreadable or of another node is refused, and nothing is written over', async () => {
  const dir = await freshDir()
  const path = join(dir, 'identity.key')
  expect(await codeOf(openIdentity(dir, '0123456789abcdef'))).toBe('identity_damaged')
  expect(await readdir(dir)).toEqual([])
  await openIdentity(dir, undefined)
  expect(await codeOf(openIdentity(dir, '0123456789abcdef'))).toBe('identity_damaged')
  const text = await readFile(path, 'utf8')
  const flipped = text.slice(0, 20) + (text[20] === 'A' ? 'B' : 'A') + text.slice(21)
  for (const bad of ['', 'skf1_' + text.slice(5), text.slice(0, 30), flipped, `${text}${text}`]) {
    await writeFile(path, bad)
    expect(await codeOf(openIdentity(dir, undefined))).toBe('identity_damaged')
    expect(await readFile(path, 'utf8')).toBe(bad)
  }
  await rm(path)
  const unreadable = await freshDir()
  await writeFile(path, text)
  await rm(unreadable, { recursive: true })
  await writeFile(unreadable, '')
  expect(await codeOf(openIdentity(unreadable, undefined))).toBe('identity_damaged')
})

test('a copy that others can read is taken back', async ({ skip }) => {
  if (process.platform === 'win32') return skip('files have no such rights here')
  const dir = await freshDir()
  await openIdentity(dir, undefined)
  await chmod(join(dir, 'identity.key'), 0o644)
  await openIdentity(dir, undefined)
  expect((await stat(join(dir, 'identity.key'))).mode & 0o777).toBe(0o600)
})
