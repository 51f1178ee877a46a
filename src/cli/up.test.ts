/** What a start loads: each of these was a tenth of it or more, and most nodes never need them. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { daemon } from './cli.test-kit.ts'

/** Runs before the program: tells at the end what was loaded, from disk and of Node itself. */
const spy = `
import { registerHooks } from 'node:module'
const loaded = []
registerHooks({ load(url, context, next) { loaded.push(url); return next(url, context) } })
process.on('exit', () => process.stderr.write(JSON.stringify([...loaded, ...process.moduleLoadList])))
`

test('a start loads no library of documents, no schema compiler and no client that it does not use', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'skein-up-'))
  try {
    const hook = `--import data:text/javascript,${encodeURIComponent(spy)}`
    await using node = await daemon(['--dir', join(dir, 'data')], { environment: { NODE_OPTIONS: hook } })
    expect(await node.stop()).toBe(0)
    const loaded = JSON.parse(node.log().slice(node.log().lastIndexOf('["'))) as string[]
    expect(loaded.some((name) => name.includes('/fastify/'))).toBe(true)
    const unneeded = /node_modules\/(?:yjs|lib0|@automerge|ajv)\/|internal\/deps\/undici/
    expect(loaded.filter((name) => unneeded.test(name))).toEqual([])
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
