/**
 * Reads LevelDB's files by ourselves and compares every checksum in them, before LevelDB may open them.
 *
 * Why: LevelDB 1.20, as bundled, opens with `paranoid_checks` and `verify_checksums` off. A flipped bit in its log makes it
 * drop acknowledged batches without a word; one in a table's index or filter makes keys vanish. Opening also rewrites
 * files, so that afterwards it is too late to look.
 *
 * What is checked: CURRENT names a manifest; every record of the manifest and of the live logs has a right CRC-32C and
 * stands in a right sequence of fragments; every table that the manifest lists exists, has the listed size, and is tiled
 * without a gap by blocks whose CRC-32C are right (data, filter, metaindex, index). What the manifest does not list (the
 * output of a compaction that a crash cut short) is skipped, as LevelDB skips it.
 *
 * What it cannot see: a log or manifest that ends early, exactly between two records, or a file replaced by a
 * well-formed other one. Those the high-water mark and the batch chain find (mark.ts, level.ts).
 *
 * Formats: doc/log_format.md, doc/table_format.md and db/version_edit.cc of LevelDB 1.20. The LOCK file is never opened
 * here: closing any handle on it would release LevelDB's lock.
 */
import { readFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32c, maskCrc } from './crc32c.ts'

/** From LevelDB's log format. */
const LOG_BLOCK_BYTES = 32 * 1024
const LOG_HEADER_BYTES = 7
/** Type byte and CRC behind each block of a table. */
const TRAILER_BYTES = 5
const FOOTER_BYTES = 48
/** The last eight bytes of a table, low word first. */
const MAGIC_LOW = 0x8b80fb57
const MAGIC_HIGH = 0xdb477524

export interface FileDamage {
  readonly file: string
  readonly offset: number
  readonly what: string
  /** For a block of a table: its keys are above `firstKey` (or from the start of the table) up to `lastKey`. */
  readonly firstKey?: Uint8Array
  readonly lastKey?: Uint8Array
}

export interface TornTail {
  readonly file: string
  readonly offset: number
  readonly lostBytes: number
}

export interface FilesReport {
  /** No CURRENT and nothing that one would have listed: LevelDB was never opened here. */
  readonly absent: boolean
  readonly damages: readonly FileDamage[]
  /** The last record of a log or manifest is incomplete: a crash in the middle of an append, or a cut. */
  readonly torn: readonly TornTail[]
  readonly checkedBytes: number
  readonly checkedFiles: number
  /** Tables that were left to the scrub. */
  readonly skippedTables: number
}

export interface LevelFile {
  readonly name: string
  readonly kind: 'current' | 'manifest' | 'log' | 'table' | 'lock' | 'info' | 'temporary' | 'other'
  /** The file number, 0 where it has none. */
  readonly number: number
  readonly sizeBytes: number
}

export function classifyLevelFile(name: string): Omit<LevelFile, 'sizeBytes' | 'name'> {
  if (name === 'CURRENT') return { kind: 'current', number: 0 }
  if (name === 'LOCK') return { kind: 'lock', number: 0 }
  if (name === 'LOG' || name === 'LOG.old') return { kind: 'info', number: 0 }
  const manifest = /^MANIFEST-(\d+)$/.exec(name)
  if (manifest) return { kind: 'manifest', number: Number(manifest[1]) }
  const numbered = /^(\d+)\.(log|ldb|sst|dbtmp)$/.exec(name)
  if (!numbered) return { kind: 'other', number: 0 }
  const kind = numbered[2] === 'log' ? 'log' : numbered[2] === 'dbtmp' ? 'temporary' : 'table'
  return { kind, number: Number(numbered[1]) }
}

/** The files of a LevelDB directory, sorted by name; none where there is no directory. */
export async function listLevelFiles(dir: string): Promise<LevelFile[]> {
  const files: LevelFile[] = []
  for (const name of (await readdir(dir).catch(absent<string[]>([]))).sort()) {
    const facts = await stat(join(dir, name)).catch(absent(undefined))
    if (facts?.isFile()) files.push({ name, ...classifyLevelFile(name), sizeBytes: facts.size })
  }
  return files
}

function absent<T>(otherwise: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === 'ENOENT') return otherwise
    throw error
  }
}

/** What a log or manifest holds. A record is the concatenation of its fragments. */
interface LogReading {
  readonly records: number
  readonly damage?: FileDamage
  readonly torn?: TornTail
}

/** Reads every record of a log or manifest. `each` gets whole records, in order, up to the first that is bad. */
export function readLevelLog(file: string, bytes: Uint8Array, each?: (record: Uint8Array) => void): LogReading {
  const end = bytes.length
  let fragments: Uint8Array[] = []
  let recordStart = 0
  let records = 0
  let at = 0
  const bad = (what: string, from: number): LogReading => {
    const next = nextRecordAfter(bytes, at)
    if (next === -1) return { records, torn: { file, offset: from, lostBytes: end - from } }
    return { records, damage: { file, offset: at, what: `${what}, and records follow at ${next}` } }
  }
  while (at < end) {
    const left = LOG_BLOCK_BYTES - (at % LOG_BLOCK_BYTES)
    if (left < LOG_HEADER_BYTES) {
      at += left
      continue
    }
    const from = fragments.length > 0 ? recordStart : at
    const fragment = readFragment(bytes, at)
    if (typeof fragment === 'string') return bad(fragment, from)
    const { kind, start, stop } = fragment
    if (kind === FULL || kind === FIRST) {
      // A writer appends a record whole, so that a begun one is never followed by another.
      if (fragments.length > 0) return { records, damage: { file, offset: at, what: 'a record has no end' } }
      recordStart = at
    } else if (fragments.length === 0) {
      return { records, damage: { file, offset: at, what: 'a record has no beginning' } }
    }
    const part = bytes.subarray(start, stop)
    if (kind === FULL || kind === LAST) {
      each?.(fragments.length === 0 ? part : Buffer.concat([...fragments, part]))
      records++
      fragments = []
    } else fragments.push(part)
    at = stop
  }
  if (fragments.length > 0) return { records, torn: { file, offset: recordStart, lostBytes: end - recordStart } }
  return { records }
}

const FULL = 1
const FIRST = 2
const LAST = 4

interface Fragment {
  readonly kind: number
  readonly start: number
  readonly stop: number
}

function readFragment(bytes: Uint8Array, at: number): Fragment | string {
  const start = at + LOG_HEADER_BYTES
  if (start > bytes.length) return 'a record header is cut'
  const length = (bytes[at + 4] as number) | ((bytes[at + 5] as number) << 8)
  const kind = bytes[at + 6] as number
  const stop = start + length
  if (kind < FULL || kind > LAST) return `a record has the unknown type ${kind}`
  if (stop > bytes.length) return 'a record is cut'
  if ((at % LOG_BLOCK_BYTES) + LOG_HEADER_BYTES + length > LOG_BLOCK_BYTES) return 'a record leaves its block'
  if (maskCrc(crc32c(bytes, at + 6, stop)) !== word(bytes, at)) return 'a record has a wrong checksum'
  return { kind, start, stop }
}

/**
 * Where the next record begins behind a bad one at `at`, or -1. Every offset is tried, since the bad record's length cannot be
 * trusted. Only beginnings count: later fragments of the bad record itself may well have reached the disk.
 */
function nextRecordAfter(bytes: Uint8Array, at: number): number {
  for (let next = at + 1; next + LOG_HEADER_BYTES <= bytes.length; next++) {
    const kind = bytes[next + 6] as number
    if (kind !== FULL && kind !== FIRST) continue
    if (LOG_BLOCK_BYTES - (next % LOG_BLOCK_BYTES) < LOG_HEADER_BYTES) continue
    if (typeof readFragment(bytes, next) !== 'string') return next
  }
  return -1
}

function word(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  )
}

/** Reads LevelDB's varints and length-prefixed strings; running past the end throws, and the caller calls it damage. */
class Cursor {
  readonly #bytes: Uint8Array
  at: number
  readonly #end: number

  constructor(bytes: Uint8Array, at: number = 0, end: number = bytes.length) {
    this.#bytes = bytes
    this.at = at
    this.#end = end
  }

  get done(): boolean {
    return this.at >= this.#end
  }

  varint(): number {
    let value = 0
    for (let scale = 1; scale < 2 ** 64; scale *= 128) {
      const byte = this.take(1)[0] as number
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
    throw new RangeError('a number does not end')
  }

  take(length: number): Uint8Array {
    if (length > this.#end - this.at) throw new RangeError('a field is cut')
    this.at += length
    return this.#bytes.subarray(this.at - length, this.at)
  }

  slice(): Uint8Array {
    return this.take(this.varint())
  }
}

/** What the manifest says is live. */
interface Version {
  /** Logs of this number and above are replayed, and the previous one. */
  log: number
  previousLog: number
  readonly tables: Map<number, number>
}

/** Applies one edit of db/version_edit.cc. */
function applyEdit(version: Version, record: Uint8Array): void {
  const cursor = new Cursor(record)
  while (!cursor.done) {
    const tag = cursor.varint()
    if (tag === 1) cursor.slice()
    else if (tag === 2) version.log = cursor.varint()
    else if (tag === 3 || tag === 4) cursor.varint()
    else if (tag === 5) {
      cursor.varint()
      cursor.slice()
    } else if (tag === 6) {
      cursor.varint()
      version.tables.delete(cursor.varint())
    } else if (tag === 7) {
      cursor.varint()
      const number = cursor.varint()
      version.tables.set(number, cursor.varint())
      cursor.slice()
      cursor.slice()
    } else if (tag === 9) version.previousLog = cursor.varint()
    else throw new RangeError(`an edit has the unknown tag ${tag}`)
  }
}

/** Snappy's block format, for the index blocks (google/snappy, format_description.txt). */
export function snappyDecode(input: Uint8Array): Uint8Array {
  const cursor = new Cursor(input)
  const length = cursor.varint()
  // The format cannot expand more than some 64/3 times.
  if (length > 32 * input.length) throw new RangeError('a compressed block claims too much')
  const output = new Uint8Array(length)
  let at = 0
  while (!cursor.done) {
    const tag = cursor.take(1)[0] as number
    let size = (tag >>> 2) + 1
    if ((tag & 3) === 0) {
      if (size > 60) size = little(cursor.take(size - 60)) + 1
      if (at + size > length) throw new RangeError('a compressed block is too long')
      output.set(cursor.take(size), at)
      at += size
      continue
    }
    let back: number
    if ((tag & 3) === 1) {
      size = ((tag >>> 2) & 7) + 4
      back = ((tag >>> 5) << 8) | (cursor.take(1)[0] as number)
    } else back = little(cursor.take((tag & 3) === 2 ? 2 : 4))
    if (back === 0 || back > at || at + size > length) throw new RangeError('a compressed block refers outside itself')
    for (const stop = at + size; at < stop; at++) output[at] = output[at - back] as number
  }
  if (at !== length) throw new RangeError('a compressed block is too short')
  return output
}

function little(bytes: Uint8Array): number {
  let value = 0
  for (let i = bytes.length - 1; i >= 0; i--) value = value * 256 + (bytes[i] as number)
  return value
}

interface Handle {
  readonly offset: number
  readonly size: number
}

function readHandle(cursor: Cursor): Handle {
  return { offset: cursor.varint(), size: cursor.varint() }
}

/** Why the block at `handle` is bad, or undefined. */
function checkBlock(bytes: Uint8Array, { offset, size }: Handle): string | undefined {
  if (offset + size + TRAILER_BYTES > bytes.length - FOOTER_BYTES) return 'a block leaves the table'
  const stop = offset + size
  if ((bytes[stop] as number) > 1) return 'a block has an unknown compression'
  if (maskCrc(crc32c(bytes, offset, stop + 1)) !== word(bytes, stop + 1)) return 'a block has a wrong checksum'
  return undefined
}

/** The entries of an index or metaindex block: key and handle. Its checksum has been compared. */
function readIndex(bytes: Uint8Array, { offset, size }: Handle): { key: Uint8Array; handle: Handle }[] {
  const stored = bytes.subarray(offset, offset + size)
  const block = bytes[offset + size] === 1 ? snappyDecode(stored) : stored
  const restarts = word(block, block.length - 4)
  const cursor = new Cursor(block, 0, block.length - 4 - 4 * restarts)
  const entries: { key: Uint8Array; handle: Handle }[] = []
  let key: Uint8Array = new Uint8Array(0)
  while (!cursor.done) {
    const shared = cursor.varint()
    const unshared = cursor.varint()
    const valueLength = cursor.varint()
    if (shared > key.length) throw new RangeError('an index entry shares more than there is')
    const next = new Uint8Array(shared + unshared)
    next.set(key.subarray(0, shared))
    next.set(cursor.take(unshared), shared)
    key = next
    entries.push({ key, handle: readHandle(new Cursor(cursor.take(valueLength))) })
  }
  return entries
}

/** LevelDB appends eight bytes of sequence and type to each key. */
function userKey(internal: Uint8Array): Uint8Array {
  return internal.subarray(0, Math.max(0, internal.length - 8))
}

/** Checks every byte of a table but the footer's padding. */
export function verifyLevelTable(file: string, bytes: Uint8Array): FileDamage[] {
  const footer = bytes.length - FOOTER_BYTES
  const whole = (what: string, offset: number = Math.max(0, footer)): FileDamage[] => [{ file, offset, what }]
  if (footer < 0) return whole('the table is shorter than its footer')
  if (word(bytes, bytes.length - 8) !== MAGIC_LOW || word(bytes, bytes.length - 4) !== MAGIC_HIGH) {
    return whole('the table does not end with its magic number')
  }
  try {
    const cursor = new Cursor(bytes, footer)
    const metaindex = readHandle(cursor)
    const index = readHandle(cursor)
    const badIndex = checkBlock(bytes, index) ?? checkBlock(bytes, metaindex)
    if (badIndex !== undefined) return whole(`${badIndex} (index)`, index.offset)
    const damages: FileDamage[] = []
    let at = 0
    let previous: Uint8Array | undefined
    const check = (handle: Handle, lastKey?: Uint8Array): void => {
      const what = handle.offset === at ? checkBlock(bytes, handle) : 'blocks do not follow one another'
      if (what !== undefined) {
        damages.push({
          file,
          offset: handle.offset,
          what,
          ...(previous && { firstKey: userKey(previous) }),
          ...(lastKey && { lastKey: userKey(lastKey) }),
        })
      }
      at = handle.offset + handle.size + TRAILER_BYTES
    }
    for (const { key, handle } of readIndex(bytes, index)) {
      check(handle, key)
      previous = key
    }
    previous = undefined
    for (const { handle } of readIndex(bytes, metaindex)) check(handle)
    check(metaindex)
    check(index)
    if (damages.length === 0 && at !== footer)
      damages.push({ file, offset: at, what: 'bytes stand between the blocks and the footer' })
    return damages
  } catch (error) {
    return whole(`the index cannot be read: ${(error as Error).message}`)
  }
}

export interface VerifyOptions {
  /** Tables are verified when all that would be read is at most this many bytes. */
  readonly boundBytes: number
  /** LevelDB has the directory open: its last records may be in the middle of being written, and tables may go. */
  readonly live?: boolean
  readonly signal?: AbortSignal
  readonly onFile?: (sizeBytes: number) => void
}

export async function verifyLevelFiles(dir: string, options: VerifyOptions): Promise<FilesReport> {
  const files = await listLevelFiles(dir)
  const damages: FileDamage[] = []
  const torn: TornTail[] = []
  let checkedBytes = 0
  let checkedFiles = 0
  let skippedTables = 0
  const report = (isAbsent: boolean = false): FilesReport => ({
    absent: isAbsent,
    damages,
    torn,
    checkedBytes,
    checkedFiles,
    skippedTables,
  })
  const read = async (name: string): Promise<Uint8Array | undefined> => {
    options.signal?.throwIfAborted()
    try {
      const bytes = await readFile(join(dir, name))
      checkedBytes += bytes.length
      checkedFiles++
      options.onFile?.(bytes.length)
      return bytes
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'ENOENT') return undefined
      if (code !== 'EIO') throw error
      damages.push({ file: name, offset: 0, what: 'the disk cannot read it (EIO)' })
      return undefined
    }
  }

  const current = await read('CURRENT')
  if (current === undefined) {
    const left = files.find((file) => file.kind === 'table' || (file.kind === 'log' && file.sizeBytes > 0))
    if (left !== undefined)
      damages.push({ file: 'CURRENT', offset: 0, what: `it is gone, though ${left.name} is there` })
    return report(damages.length === 0)
  }
  const named = /^(MANIFEST-\d+)\n$/.exec(Buffer.from(current).toString('latin1'))
  const manifestName = named?.[1]
  const manifest = manifestName === undefined ? undefined : await read(manifestName)
  if (manifestName === undefined || manifest === undefined) {
    damages.push({ file: 'CURRENT', offset: 0, what: 'it names no manifest that is there' })
    return report()
  }
  const version: Version = { log: 0, previousLog: 0, tables: new Map() }
  try {
    const reading = readLevelLog(manifestName, manifest, (record) => applyEdit(version, record))
    if (reading.damage) damages.push(reading.damage)
    if (reading.torn) torn.push(reading.torn)
  } catch (error) {
    damages.push({ file: manifestName, offset: 0, what: `an edit cannot be read: ${(error as Error).message}` })
  }
  if (damages.length > 0) return report()

  const logs = files.filter(
    (file) => file.kind === 'log' && (file.number >= version.log || file.number === version.previousLog),
  )
  let logTorn: TornTail | undefined
  for (const { name } of logs.sort((a, b) => a.number - b.number)) {
    const bytes = await read(name)
    if (bytes === undefined) continue
    const reading = readLevelLog(name, bytes)
    if (reading.damage) damages.push(reading.damage)
    if (logTorn && !options.live && reading.records > 0) {
      damages.push({ ...logTorn, what: `a record is incomplete, though ${name} has later ones` })
    }
    logTorn = reading.torn ?? logTorn
  }
  if (logTorn) torn.push(logTorn)

  let tableBytes = 0
  for (const sizeBytes of version.tables.values()) tableBytes += sizeBytes
  const skip = checkedBytes + tableBytes > options.boundBytes
  const byNumber = new Map(files.filter((file) => file.kind === 'table').map((file) => [file.number, file]))
  for (const [number, sizeBytes] of version.tables) {
    const file = byNumber.get(number)
    if (file === undefined) {
      if (!options.live) {
        damages.push({ file: `${String(number).padStart(6, '0')}.ldb`, offset: 0, what: 'the table is gone' })
      }
    } else if (file.sizeBytes !== sizeBytes) {
      damages.push({ file: file.name, offset: file.sizeBytes, what: `the table should have ${sizeBytes} bytes` })
    } else if (skip) skippedTables++
    else {
      const bytes = await read(file.name)
      if (bytes === undefined && !options.live) damages.push({ file: file.name, offset: 0, what: 'the table is gone' })
      if (bytes !== undefined) damages.push(...verifyLevelTable(file.name, bytes))
    }
  }
  return report()
}
