/**
 * docs/PROTOCOL.md and its vectors are held to the code.
 *
 * UPDATE_DOCS=1 npm test -- test/protocol.test.ts writes the vectors anew: a change in them is a change of the protocol.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { limits } from '../src/base/limits.ts'
import { fromHex } from '../src/base/bytes.ts'
import { decodePacket, frameCodecs, protocol } from '../src/wire/codec.ts'
import { protocolVectors } from './protocol-vectors.ts'

const docs = join(import.meta.dirname, '..', 'docs')

test('[P7] docs/protocol-vectors.json is what the code gives', async () => {
  const path = join(docs, 'protocol-vectors.json')
  const fresh = protocolVectors()
  if (process.env['UPDATE_DOCS'] === '1') await writeFile(path, fresh)
  expect(await readFile(path, 'utf8')).toBe(fresh)
})

test('the vectors hold every kind of frame, and all of them are read without a fault', () => {
  const { packets } = JSON.parse(protocolVectors()) as { packets: { packet: string }[] }
  const kinds = packets.flatMap(({ packet }) => {
    const { frames, fault } = decodePacket(fromHex(packet))
    expect(fault).toBeUndefined()
    return frames.map(({ kind }) => kind)
  })
  expect([...new Set(kinds)].sort()).toEqual(Object.keys(frameCodecs).sort())
})

test('[P7] docs/PROTOCOL.md has each kind with its number and as many fields as are written', async () => {
  const text = await readFile(join(docs, 'PROTOCOL.md'), 'utf8')
  const rows = [...text.matchAll(/^\| (0x[0-9a-f]{2}) \| ([a-z-]+) \| (.+) \|$/gm)].map(
    ([, code = '', kind = '', fields = '']) => [kind, Number(code), fields.split(' · ').length],
  )
  const coded = Object.entries(frameCodecs).map(([kind, { code, fields }]) => [kind, code, fields])
  const byName = ([one]: readonly unknown[], [other]: readonly unknown[]): number =>
    String(one) < String(other) ? -1 : 1
  expect(rows.sort(byName)).toEqual(coded.sort(byName))
  expect(text).toContain(`version ${protocol.major}.${protocol.minor}`)
  // Limits are named, so that the table in docs/LIMITS.md is theirs too.
  for (const [, name = ''] of text.matchAll(/limit `(\w+)`/g)) expect(Object.keys(limits)).toContain(name)
})
