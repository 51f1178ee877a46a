/**
 * Backup and restore of a whole data directory as one file, taken while the node writes. A restored directory is an old
 * one: its node takes a new incarnation when it opens, as every node does, so that no dot is used twice.
 *
 * Layout: the line `skein-backup 1`, then records [key length, value length, key, value] with 4-byte lengths, then a
 * record of two zero lengths, the number of records and a 128-bit hash chained over all of them.
 */
import { randomBytes } from 'node:crypto'
import { link, mkdtemp, open, rename, rm, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { SkeinError } from './base/errors.ts'
import { hash128, lanes } from './base/hash.ts'
import type { RowScanner } from './base/rows.ts'
import type { SkeinNode } from './node/node.ts'
import { syncDirectory } from './store/directory.ts'
import { openLevelStore } from './store/level.ts'

const headline = new TextEncoder().encode('skein-backup 1\n')
const endBytes = 8 + 8 + 16
const chunkBytes = 1024 * 1024
const mostKey = 64 * 1024
const mostValue = 64 * 1024 * 1024

export interface BackupReport {
  readonly rows: number
  readonly sizeBytes: number
}

/** Everything written before the call is in the file; it is complete, or not there. */
export async function backup(node: SkeinNode, to: string): Promise<BackupReport> {
  const file = resolve(to)
  if (await exists(file)) throw new SkeinError('target_exists', `${file} exists already`)
  const rows = await node.rows()
  const partial = `${file}.${randomBytes(4).toString('hex')}.partial`
  const handle = await named(partial, open(partial, 'wx', 0o600))
  try {
    const report = await writeRows(rows, handle)
    await handle.sync()
    await handle.close()
    // Unlike a rename, a link never takes the place of a file that came meanwhile.
    await link(partial, file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') throw new SkeinError('target_exists', `${file} exists already`)
      throw error
    })
    return report
  } catch (error) {
    throw error instanceof SkeinError ? error : new SkeinError('file_failed', `${file} cannot be written`, {}, error)
  } finally {
    await handle.close().catch(() => undefined)
    await rm(partial, { force: true })
    await syncDirectory(dirname(file)).catch(() => undefined)
  }
}

async function writeRows(rows: RowScanner, handle: FileHandle): Promise<BackupReport> {
  const chain = new Uint32Array(4)
  let count = 0
  let sizeBytes = headline.length
  let pieces: Uint8Array[] = []
  let waiting = 0
  const flush = async (): Promise<void> => {
    const bytes = Buffer.concat(pieces)
    advance(chain, bytes)
    await handle.writeFile(bytes)
    sizeBytes += bytes.length
    pieces = []
    waiting = 0
  }
  await handle.writeFile(headline)
  // Hashed in the pieces in which records are read back: records until they are a chunk or more.
  for await (const page of rows.range({ gte: Uint8Array.of(0), lt: Uint8Array.of(0xff) })) {
    for (const [key, value] of page) {
      const lengths = new DataView(new ArrayBuffer(8))
      lengths.setUint32(0, key.length)
      lengths.setUint32(4, value.length)
      pieces.push(new Uint8Array(lengths.buffer), key, value)
      waiting += 8 + key.length + value.length
      count++
      if (waiting >= chunkBytes) await flush()
    }
  }
  if (waiting > 0) await flush()
  const end = new DataView(new ArrayBuffer(endBytes))
  end.setBigUint64(8, BigInt(count))
  for (const [i, lane] of chain.entries()) end.setUint32(16 + 4 * i, lane)
  await handle.writeFile(new Uint8Array(end.buffer))
  return { rows: count, sizeBytes: sizeBytes + endBytes }
}

/** Makes `dir`, which must not exist, from a backup. The whole file is checked before anything is made. */
export async function restore(file: string, to: string): Promise<BackupReport> {
  const dir = resolve(to)
  if (await exists(dir)) throw new SkeinError('target_exists', `${dir} exists already`)
  let report: BackupReport | undefined
  for await (const _ of readBackup(file, (checked) => (report = checked)));
  if (report === undefined) throw invalid('it has no end')
  const partial = await named(dir, mkdtemp(`${dir}.`))
  try {
    const store = await openLevelStore({ dir: partial })
    try {
      for await (const rows of readBackup(file, (checked) => (report = checked))) {
        const batch = store.batch()
        for (const [key, value] of rows) batch.put(key, value)
        await store.write(batch, 'os')
      }
      // One last synced write makes all that came before durable too.
      await store.write(store.batch(), 'disk')
    } finally {
      await store.close()
    }
    if (await exists(dir)) throw new SkeinError('target_exists', `${dir} exists already`)
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

function advance(chain: Uint32Array, bytes: Uint8Array): void {
  hash128(bytes, 0, bytes.length, chain[0] as number, chain[1] as number, chain[2] as number, chain[3] as number)
  chain.set(lanes)
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
