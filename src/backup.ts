/**
 * Backup and restore of a whole data directory as one file, taken while the node writes. A restored directory is an old
 * one: its node takes a new incarnation when it opens, as every node does, so that no dot is used twice.
 */
import { randomBytes } from 'node:crypto'
import { link, mkdtemp, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { equalBytes } from './base/bytes.ts'
import { SkeinError } from './base/errors.ts'
import { advance, backupBytes, chunkBytes, endBytes, headline } from './node/backup-bytes.ts'
import type { SkeinNode } from './node/node.ts'
import { metaKey } from './replica/row-keys.ts'
import { keepIdentity } from './node/security/identity.ts'
import { syncDirectory } from './store/directory.ts'
import { openLevelStore } from './store/level.ts'

const mostKey = 64 * 1024
const mostValue = 64 * 1024 * 1024

export interface BackupReport {
  readonly rows: number
  readonly sizeBytes: number
}

/** Everything written before the call is in the file; it is complete, or not there. */
export async function backup(node: SkeinNode, to: string): Promise<BackupReport> {
  await mustNotExist(resolve(to))
  return saveBackup(backupBytes(await node.rows()), to)
}

/** Keeps a backup that comes in pieces. Only one that is whole takes the name that was asked for. */
export async function saveBackup(pieces: AsyncIterable<Uint8Array>, to: string): Promise<BackupReport> {
  const file = resolve(to)
  await mustNotExist(file)
  const partial = `${file}.${randomBytes(4).toString('hex')}.partial`
  const handle = await named(partial, open(partial, 'wx', 0o600))
  try {
    for await (const piece of pieces) await handle.writeFile(piece)
    await handle.sync()
    await handle.close()
    const report = await checkBackup(partial)
    // Unlike a rename, a link never takes the place of a file that came meanwhile.
    await link(partial, file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') throw new SkeinError('target_exists', `${file} exists already`)
      throw error
    })
    return report
  } catch (error) {
    // What the node says of its side is told as it is; the rest is of this file.
    const isOfFile = error instanceof Error && 'syscall' in error
    throw isOfFile ? new SkeinError('file_failed', `${file} cannot be written`, {}, error) : error
  } finally {
    await handle.close().catch(() => undefined)
    await rm(partial, { force: true })
    await syncDirectory(dirname(file)).catch(() => undefined)
  }
}

/** Reads a backup from its beginning to its end, and throws when it is not whole. */
async function checkBackup(file: string): Promise<BackupReport> {
  let report: BackupReport | undefined
  for await (const _ of readBackup(file, (checked) => (report = checked)));
  if (report === undefined) throw invalid('it has no end')
  return report
}

async function mustNotExist(path: string): Promise<void> {
  if (await exists(path)) throw new SkeinError('target_exists', `${path} exists already`)
}

const ownName = metaKey('node')

export interface RestoreOptions {
  /**
   * The `identity.key` of the node that the backup is of, where that node is gone: the directory goes on as that node, with its
   * budget rights. Without it the directory is a new node, which may run beside the original.
   */
  readonly identity?: string
}

/** Makes `dir`, which must not exist, from a backup. The whole file is checked before anything is made. */
export async function restore(file: string, to: string, { identity }: RestoreOptions = {}): Promise<BackupReport> {
  const dir = resolve(to)
  await mustNotExist(dir)
  const key =
    identity === undefined
      ? undefined
      : await readFile(identity, 'utf8').catch((error: unknown) => {
          throw new SkeinError('file_failed', `${identity} cannot be read`, { file: identity }, error)
        })
  let report = await checkBackup(file)
  const partial = await named(dir, mkdtemp(`${dir}.`))
  try {
    const store = await openLevelStore({ dir: partial })
    try {
      for await (const rows of readBackup(file, (checked) => (report = checked))) {
        const batch = store.batch()
        // Who it was goes with the key that proves it, which no backup holds.
        for (const [name, value] of rows) if (key !== undefined || !equalBytes(name, ownName)) batch.put(name, value)
        await store.write(batch, 'os')
      }
      // One last synced write makes all that came before durable too.
      await store.write(store.batch(), 'disk')
    } finally {
      await store.close()
    }
    if (key !== undefined) await keepIdentity(partial, key)
    await mustNotExist(dir)
    await named(dir, rename(partial, dir))
  } catch (error) {
    // This directory was made above, under a name that nobody else has.
    await rm(partial, { recursive: true, force: true })
    throw error
  }
  await syncDirectory(dirname(dir)).catch(() => undefined)
  return report
}

/** A failure of the file system, as an error that names the path. */
async function named<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw new SkeinError('file_failed', `${path} cannot be written`, {}, error)
  }
}

async function* readBackup(
  file: string,
  checked: (report: BackupReport) => void,
): AsyncGenerator<(readonly [Uint8Array, Uint8Array])[], void, void> {
  const handle = await open(file, 'r').catch((error: unknown) => {
    throw new SkeinError('backup_invalid', `${file} cannot be read`, {}, error)
  })
  try {
    const { size } = await handle.stat()
    const head = Buffer.alloc(headline.length)
    await handle.read(head, 0, head.length, 0)
    if (!head.equals(headline)) throw invalid('it does not begin as one')
    if (size < headline.length + endBytes) throw invalid('it is cut short')
    const end = Buffer.alloc(endBytes)
    await handle.read(end, 0, endBytes, size - endBytes)
    if (end.readBigUInt64BE(0) !== 0n) throw invalid('it is cut short, or is longer than it says')
    const chain = new Uint32Array(4)
    let count = 0
    for (let at = headline.length; at < size - endBytes;) {
      const rows: (readonly [Uint8Array, Uint8Array])[] = []
      const pieces: Uint8Array[] = []
      let read = 0
      while (read < chunkBytes && at < size - endBytes) {
        const lengths = Buffer.alloc(8)
        await handle.read(lengths, 0, 8, at)
        const keyLength = lengths.readUInt32BE(0)
        const valueLength = lengths.readUInt32BE(4)
        const next = at + 8 + keyLength + valueLength
        if (keyLength === 0 || keyLength > mostKey || valueLength > mostValue || next > size - endBytes) {
          throw invalid(`the record at byte ${at} is not one`)
        }
        const bytes = Buffer.alloc(keyLength + valueLength)
        await handle.read(bytes, 0, bytes.length, at + 8)
        rows.push([bytes.subarray(0, keyLength), bytes.subarray(keyLength)])
        pieces.push(lengths, bytes)
        read += 8 + bytes.length
        at = next
        count++
      }
      advance(chain, Buffer.concat(pieces))
      yield rows
    }
    if (BigInt(count) !== end.readBigUInt64BE(8)) throw invalid('records are missing')
    for (const [i, lane] of chain.entries()) {
      if (lane !== end.readUInt32BE(16 + 4 * i)) throw invalid('its checksum is wrong')
    }
    checked({ rows: count, sizeBytes: size })
  } finally {
    await handle.close()
  }
}

function invalid(why: string): SkeinError {
  return new SkeinError('backup_invalid', `this is no whole Skein backup: ${why}`)
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
