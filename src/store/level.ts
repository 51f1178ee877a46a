/**
 * The store on LevelDB (the `level` package; the engine is LevelDB 1.20). LevelDB is fast and old: it loses what rots
 * without a word, it fails for ever after one full disk, it syncs only its newest log. This file is the distrust around it.
 *
 * Four guards, each for what the others cannot see:
 * 1. Every value carries a checksum over key and value, compared at every read: no wrong value is ever returned.
 * 2. Before LevelDB may open the directory, level-files.ts compares the checksums inside its files: no flipped bit makes
 *    rows vanish in silence.
 * 3. Every batch holds a row of its own with its number, a hash of its records and a running hash over all batches
 *    (the chain). The last `WINDOW_BATCHES` of them are kept; each batch deletes the one that leaves the window. Opening
 *    reads them all: they must be exactly the last so many, and each must continue the one before. A hole in the middle of
 *    a log or a lost table edit takes whole batches with it, so it shows either as a gap in the window or as old
 *    rows below it that nobody deleted.
 * 4. The mark (mark.ts), outside the database, says which batch was acknowledged last: a lost tail shows.
 *
 * What they detect: a flip or a cut of any file, at opening (up to `verifyBytes`; tables beyond that at reading or at the
 * scrub), or at the read of the row. What they do not: rows that rot away while the store is open (a flipped key in a
 * table is missed by a read of it until the scrub or the next opening); the loss of the newest batches together with both slots
 * of the mark; in the second before a power cut, batches that the disk had claimed to have synced; a whole
 * directory put back to an earlier state, which only a peer can tell (see incarnations); a batch row proves that its batch
 * was applied, not that each of its rows is still there: that is what guard 2 is for.
 */
import { readdir, open as openFile, rm, statfs } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Level } from 'level'
import { assert } from '../base/assert.ts'
import { compareBytes, equalBytes } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { createFormat, inspectDirectory, makeDirectory, moveAside, names, removeLeftovers } from './directory.ts'
import { lastMessage, mapFailure } from './failures.ts'
import { listLevelFiles, verifyLevelFiles } from './level-files.ts'
import type { FileDamage, FilesReport } from './level-files.ts'
import { Mark, noBatch, readBoot, readMark } from './mark.ts'
import type { MarkedBatch, MarkReading } from './mark.ts'
import { batchKey, batchValue, chainOf, readWindow, reservedStart, WINDOW_BATCHES } from './batch-chain.ts'
import type { BatchRow } from './batch-chain.ts'
import { Arena, isIntact, LevelBatch, plain, valueOf } from './level-batch.ts'
import type { Database } from './level-batch.ts'
import { assertUserKey } from './memory.ts'
import { adoptTrial, dropTrial, firstBreak, makeTrial, settleTrial } from './unsynced-tail.ts'
import type {
  Batch,
  BatchRange,
  Damage,
  Durability,
  OpeningReport,
  Row,
  RowRange,
  ScrubOptions,
  ScrubReport,
  Store,
  StoreSnapshot,
  StoreStatus,
  StoreSupport,
} from './store.ts'

export interface LevelStoreOptions {
  readonly dir: string
  /** `refuse` (the default) throws `store_damaged`; `set-aside` moves the directory away, whole, and starts empty. */
  readonly onDamage?: 'refuse' | 'set-aside'
  /** Bytes of log before LevelDB writes a table. Measured: 16 MiB cuts the slowest synced commits to a third of 4 MiB's. */
  readonly writeBufferBytes?: number
  /** Cache of uncompressed blocks. */
  readonly cacheBytes?: number
  /** LevelDB maps each open table. Measured: 40 and 1,000 read alike, 40 keeps 120 MB less resident over a million rows. */
  readonly maxOpenFiles?: number
  /** Off only for tests: without it LevelDB has one guard less. */
  readonly compression?: boolean
  /** Tables are verified at opening when all files together have at most this many bytes; else only logs and manifest. */
  readonly verifyBytes?: number
}

const PAGE_ROWS = 512
const PAGE_BYTES = 256 * 1024
const MEBIBYTE = 1024 * 1024
/** What an opening writes beside the log's content: manifest, CURRENT. Generous. */
const REOPEN_MARGIN_BYTES = MEBIBYTE
/** An arena above this size is not kept for the next batch. */
const KEPT_ARENA_BYTES = 4 * MEBIBYTE

/** Around all rows; neither is one. */
const firstKey = Uint8Array.of(0)
const lastKey = Uint8Array.of(...reservedStart, 0xff)

const encodings = { keyEncoding: 'view', valueEncoding: 'view' } as const

/** What LevelDB can and `Level`, which may be another thing in a browser, does not say. */
interface Compacting {
  compactRange(start: Uint8Array, end: Uint8Array): Promise<void>
}

interface Tuning {
  readonly writeBufferSize: number
  readonly cacheSize: number
  readonly maxOpenFiles: number
  readonly compression: boolean
}

async function openDatabase(location: string, tuning: Partial<Tuning>): Promise<Database> {
  const database: Database = new Level(location, { ...encodings, ...tuning })
  await database.open()
  return database
}

/**
 * The lock of the data directory. Node has no file locks and a file with a process id goes stale; LevelDB has one that dies with
 * the process. Its own is not enough: it is taken in the moment in which LevelDB begins to rewrite files, and our
 * verification, or a move aside, must not run over files that another process writes. So an empty LevelDB beside the
 * data is opened first and held to the end, also while the database itself is being reopened.
 */
async function lockDirectory(dir: string): Promise<Database> {
  const location = join(dir, names.lock)
  const tiny = { writeBufferSize: 64 * 1024, cacheSize: 0, maxOpenFiles: 20 }
  try {
    return await openDatabase(location, tiny)
  } catch (error) {
    const { code } = mapFailure(error, dir)
    if (code !== 'store_damaged' && code !== 'store_failed') throw error
    // Its content is worth nothing, and whoever held it would have given store_locked.
    await rm(location, { recursive: true, force: true })
    return openDatabase(location, tiny)
  }
}

/** What the checks at opening found wrong, in a form that refusing and setting aside can both use. */
class FoundDamage extends Error {
  readonly mayBeLost: BatchRange | undefined
  readonly damages: readonly FileDamage[]

  constructor(what: string, mayBeLost?: BatchRange, damages: readonly FileDamage[] = []) {
    super(what)
    this.mayBeLost = mayBeLost
    this.damages = damages
  }
}

/** Everything that the mark knows of may be lost with a damaged database. */
function wholeRange({ state }: MarkReading): BatchRange | undefined {
  if (state === undefined || state.acknowledged.number === 0) return undefined
  return { from: 1, to: state.acknowledged.number, untilMs: state.acknowledged.timeMs }
}

function describeDamages(damages: readonly FileDamage[]): string {
  const [first] = damages
  const more = damages.length > 1 ? ` (and ${damages.length - 1} more)` : ''
  return first === undefined ? '' : `${first.file} at ${first.offset}: ${first.what}${more}`
}

/** Has the machine been started anew since the mark was written? Undefined where that cannot be told. */
function restartedSince(markedBoot: Uint8Array): boolean | undefined {
  const boot = readBoot()
  const known = boot.some((byte) => byte !== 0) && markedBoot.some((byte) => byte !== 0)
  return known ? !equalBytes(boot, markedBoot) : undefined
}

/** Compares the window with the mark. Throws FoundDamage when a batch that was acknowledged at `disk` is missing. */
function compareWithMark(rows: readonly BatchRow[], { state, condition }: MarkReading): Partial<OpeningReport> {
  const head = rows.at(-1)
  const warnings: string[] = []
  if (condition === 'half') warnings.push('One slot of the high-water mark was unreadable; the other was used.')
  if (state === undefined) {
    if (head !== undefined) {
      warnings.push(
        `The high-water mark ${condition === 'absent' ? 'is gone' : 'was unreadable'}: whether batches after ${head.number} were acknowledged cannot be told.`,
      )
    }
    return { warnings }
  }
  const number = head?.number ?? 0
  const { synced, acknowledged } = state
  for (const marked of [synced, acknowledged]) {
    const row = rows.find((candidate) => candidate.number === marked.number)
    if (row !== undefined && !equalBytes(row.chain, marked.chain)) {
      throw new FoundDamage(`batch ${row.number} is not the one that was acknowledged under that number`, {
        from: row.number,
        to: Math.max(number, acknowledged.number),
      })
    }
  }
  const range: BatchRange = {
    from: number + 1,
    to: acknowledged.number,
    ...(head && { sinceMs: head.timeMs }),
    untilMs: acknowledged.timeMs,
  }
  if (number < synced.number)
    throw new FoundDamage(`batches ${range.from} to ${range.to} were acknowledged and are missing`, range)
  if (number >= acknowledged.number) return { warnings }
  const restarted = restartedSince(state.boot)
  if (restarted === false) {
    warnings.push(
      `Batches ${range.from} to ${range.to}, acknowledged but not synced, are gone although the machine was not restarted: something took them from the log.`,
    )
  }
  return { warnings, lostUnsynced: { ...range, ...(restarted !== undefined && { restarted }) } }
}

interface Opened {
  readonly database: Database
  readonly rows: readonly BatchRow[]
  readonly mark: MarkReading
  readonly report: Partial<OpeningReport>
  readonly files: FilesReport
}

/** Verifies the files, opens the database, verifies the chain. Throws FoundDamage with the database closed. */
async function verifyAndOpen(dir: string, tuning: Tuning, verifyBytes: number): Promise<Opened> {
  await settleTrial(dir)
  const location = join(dir, names.db)
  const mark = readMark(join(dir, names.mark))
  const files = await verifyLevelFiles(location, { boundBytes: verifyBytes })
  if (files.damages.length > 0) {
    const damage = new FoundDamage(describeDamages(files.damages), wholeRange(mark), files.damages)
    const kept = await cutUnsynced(dir, mark, damage, tuning)
    const opened = await openVerified(dir, location, mark, files, tuning)
    const warning = `The log was broken where nothing had been synced yet (${damage.message}); it was cut there, and is kept in ${kept}.`
    return { ...opened, report: { ...opened.report, warnings: [...(opened.report.warnings ?? []), warning] } }
  }
  if (files.absent && mark.state !== undefined && mark.state.acknowledged.number > 0) {
    throw new FoundDamage('the database is gone', wholeRange(mark))
  }
  const [cut] = files.torn
  if (cut !== undefined && mark.state?.clean === true) {
    const what = `${cut.file} ends in a broken record at ${cut.offset} after a close in order`
    throw new FoundDamage(what, wholeRange(mark), [{ file: cut.file, offset: cut.offset, what }])
  }
  return openVerified(dir, location, mark, files, tuning)
}

/** Cuts a log that is broken in its unsynced part, or throws the damage when it is more than that. */
async function cutUnsynced(dir: string, mark: MarkReading, damage: FoundDamage, tuning: Tuning): Promise<string> {
  const at = firstBreak(damage.damages)
  const { state } = mark
  // Without a restart in between, the system had all that was written, synced or not: then this is rot.
  if (at === undefined || state === undefined || state.clean || restartedSince(state.boot) === false) throw damage
  const trial = await makeTrial(dir, at)
  try {
    const files = await verifyLevelFiles(trial, { boundBytes: 0 })
    if (files.damages.length > 0) throw damage
    const { database } = await openVerified(dir, trial, mark, files, tuning)
    await database.close()
  } catch (error) {
    await dropTrial(dir)
    throw error instanceof FoundDamage ? damage : error
  }
  return adoptTrial(dir, new Date())
}

async function openVerified(
  dir: string,
  location: string,
  mark: MarkReading,
  files: FilesReport,
  tuning: Tuning,
): Promise<Opened> {
  let database: Database
  try {
    database = await openDatabase(location, tuning)
  } catch (error) {
    const failure = mapFailure(error, dir)
    if (failure.code !== 'store_damaged') throw failure
    throw new FoundDamage(`LevelDB cannot open it: ${lastMessage(error)}`, wholeRange(mark))
  }
  try {
    const rows = await readWindow(database)
    if (typeof rows === 'string') throw new FoundDamage(`the chain of batches is broken: ${rows}`, wholeRange(mark))
    return { database, rows, mark, files, report: compareWithMark(rows, mark) }
  } catch (error) {
    await database.close()
    if (error instanceof FoundDamage) throw error
    const failure = mapFailure(error, dir)
    if (failure.code !== 'store_damaged') throw failure
    throw new FoundDamage('the chain of batches cannot be read', wholeRange(mark))
  }
}

function rangeSentence(range: BatchRange | undefined): string {
  if (range === undefined) return 'What may be lost cannot be told.'
  const since = range.sinceMs === undefined ? '' : `, written after ${new Date(range.sinceMs).toISOString()}`
  return `What may be lost, unless peers have it: batches ${range.from} to ${range.to}${since}.`
}

/**
 * Opens the store in `dir`, or makes it. Rejects with `store_foreign`, `store_newer`, `store_locked`, `store_permission`,
 * `store_full`, `store_failed`, or, with `onDamage: 'refuse'`, with `store_damaged`: then nothing was written
 * but what LevelDB itself wrote if the damage showed only after its opening.
 */
export async function openLevelStore(options: LevelStoreOptions): Promise<LevelStore> {
  const dir = resolve(options.dir)
  try {
    return await openIn(dir, options)
  } catch (error) {
    throw mapFailure(error, dir)
  }
}

async function openIn(
  dir: string,
  options: LevelStoreOptions,
  setAside?: OpeningReport['setAside'],
): Promise<LevelStore> {
  const onDamage = setAside === undefined ? (options.onDamage ?? 'refuse') : 'refuse'
  const tuning: Tuning = {
    writeBufferSize: options.writeBufferBytes ?? 16 * MEBIBYTE,
    cacheSize: options.cacheBytes ?? 32 * MEBIBYTE,
    maxOpenFiles: options.maxOpenFiles ?? 40,
    compression: options.compression ?? true,
  }
  const verifyBytes = options.verifyBytes ?? 1024 * MEBIBYTE
  const inspect = async (): Promise<'new' | 'ours' | SkeinError> => {
    try {
      return await inspectDirectory(dir)
    } catch (error) {
      if (error instanceof SkeinError && error.code === 'store_damaged') return error
      throw error
    }
  }
  // Once before the lock, so that a foreign directory is not even touched, and once under it, for what counts.
  await inspect()
  await makeDirectory(dir)
  const lock = await lockDirectory(dir)
  let keepLock = false
  try {
    const found = await inspect()
    if (found === 'new') await createFormat(dir)
    let opened: Opened
    try {
      if (found instanceof SkeinError) throw new FoundDamage(found.message, wholeRange(readMark(join(dir, names.mark))))
      await removeLeftovers(dir)
      opened = await verifyAndOpen(dir, tuning, verifyBytes)
    } catch (error) {
      if (!(error instanceof FoundDamage)) throw error
      if (onDamage === 'refuse') {
        throw new SkeinError(
          'store_damaged',
          `The store in ${dir} is damaged: ${error.message}. ${rangeSentence(error.mayBeLost)} ` +
            `Open it with onDamage: "set-aside" to move the directory aside and start empty, or restore a backup.`,
          { dir, damages: error.damages, ...(error.mayBeLost && { mayBeLost: error.mayBeLost }) },
          error,
        )
      }
      // Windows does not rename a directory with open files; elsewhere the lock is held until the name is free.
      if (process.platform === 'win32') await lock.close()
      const path = await moveAside(dir, new Date())
      await lock.close()
      keepLock = true
      return await openIn(dir, options, {
        path,
        reason: error.message,
        ...(error.mayBeLost && { mayBeLost: error.mayBeLost }),
      })
    }
    const { database, rows, mark: reading, report } = opened
    const head = rows.at(-1)
    const last: MarkedBatch = head ?? noBatch
    try {
      // Opening wrote all that the log held into synced tables, so that everything up to the head is on the disk now.
      const mark = new Mark(join(dir, names.mark), reading.sequence, last, last)
      const opening: OpeningReport = {
        found:
          found === 'new' || (last.number === 0 && reading.state === undefined)
            ? 'fresh'
            : reading.state?.clean
              ? 'clean'
              : 'unclean',
        lastBatch: last.number,
        warnings: [],
        ...report,
        ...(setAside && { setAside }),
      }
      keepLock = true
      return new LevelStore(dir, { database, lock, mark, tuning, last, opening })
    } catch (error) {
      await database.close()
      throw error
    }
  } finally {
    if (!keepLock) await lock.close()
  }
}

interface Parts {
  readonly database: Database
  readonly lock: Database
  readonly mark: Mark
  readonly tuning: Tuning
  readonly last: MarkedBatch
  readonly opening: OpeningReport
}

export class LevelStore implements Store {
  readonly dir: string
  readonly supports: StoreSupport = { durability: 'disk', persistent: true }
  readonly opening: OpeningReport
  readonly #lock: Database
  readonly #mark: Mark
  readonly #tuning: Tuning
  #database: Database
  #status: StoreStatus = 'open'
  /** The last batch that was acknowledged. */
  #last: MarkedBatch
  /** Batches since the last sync: a log other than the newest may hold some of them. */
  #hasUnsynced = false
  /** The batch whose write failed: it may be in the database or not. */
  #failed: { readonly number: number; readonly content: Uint8Array; readonly isFull: boolean } | undefined
  /** No write may succeed any more: acknowledged batches are missing. */
  #final: SkeinError | undefined
  #writing: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #spareArena: Arena | undefined

  constructor(dir: string, { database, lock, mark, tuning, last, opening }: Parts) {
    this.dir = dir
    this.opening = opening
    this.#database = database
    this.#lock = lock
    this.#mark = mark
    this.#tuning = tuning
    this.#last = last
  }

  get status(): StoreStatus {
    return this.#status
  }

  get lastBatch(): number {
    return this.#last.number
  }

  /** Why the mark could not be written the last time, if so: commits go on, but a lost tail might go unnoticed. */
  get markFailure(): Error | undefined {
    return this.#mark.failure
  }

  get(key: Uint8Array): Uint8Array | undefined {
    assertUserKey(key)
    let stored: Uint8Array | undefined
    try {
      stored = this.#database.getSync(key)
    } catch (error) {
      throw this.#readFailure(error)
    }
    return stored === undefined ? undefined : valueOf(key, stored)
  }

  async *range({ gte, lt, reverse = false }: RowRange): AsyncGenerator<readonly Row[]> {
    yield* this.#pages(gte, lt, reverse, undefined)
  }

  snapshot(): StoreSnapshot {
    let snapshot: ReturnType<Database['snapshot']>
    const database = this.#database
    try {
      snapshot = database.snapshot()
    } catch (error) {
      throw this.#readFailure(error)
    }
    return {
      get: (key) => {
        assertUserKey(key)
        let stored: Uint8Array | undefined
        try {
          stored = database.getSync(key, { ...encodings, snapshot })
        } catch (error) {
          throw this.#readFailure(error)
        }
        return stored === undefined ? undefined : valueOf(key, stored)
      },
      range: ({ gte, lt, reverse = false }) => this.#pages(gte, lt, reverse, snapshot, database),
      [Symbol.dispose]: () => void snapshot.close().catch(() => {}),
    }
  }

  batch(): Batch {
    if (this.#closing) throw this.#closed()
    const arena = this.#spareArena ?? new Arena()
    this.#spareArena = undefined
    return new LevelBatch(arena)
  }

  write(batch: Batch, durability: Durability): Promise<void> {
    assert(this.#writing === undefined, 'only one write of a store is in flight')
    assert(batch instanceof LevelBatch && !batch.spent, 'a batch is written once, to the store that made it')
    if (this.#closing) return Promise.reject(this.#closed())
    const writing = this.#write(batch, durability)
    this.#writing = writing.then(this.#written, this.#written)
    return writing
  }

  readonly #written = (): void => {
    this.#writing = undefined
  }

  async #write(batch: LevelBatch, durability: Durability): Promise<void> {
    const sync = durability === 'disk'
    if (this.#final) throw this.#final
    const content = batch.content()
    if (this.#failed !== undefined) {
      const arrived = await this.#recover(batch.sizeBytes)
      if (arrived !== undefined && equalBytes(arrived, content)) return this.#acknowledge(batch, true)
    }
    if (batch.count === 0 && !(sync && this.#hasUnsynced)) return this.#release(batch)
    const number = this.#last.number + 1
    const key = batchKey(number)
    const timeMs = Date.now()
    const facts = { number, timeMs, content, count: batch.count, sizeBytes: batch.sizeBytes, durability: sync ? 2 : 1 }
    const value = batchValue(facts, this.#last.chain, key)
    const last: MarkedBatch = { number, chain: chainOf(value), timeMs }
    try {
      const chained = this.#database.batch()
      batch.drain(chained)
      chained.put(key, value)
      if (number > WINDOW_BATCHES) chained.del(batchKey(number - WINDOW_BATCHES))
      const written = chained.write({ sync })
      this.#mark.prepare(last, sync)
      await written
      // LevelDB synced its newest log alone. If it began that since the last synced batch, the end of the older one is not on the
      // disk until its table is, and a power cut would leave a hole before this batch.
      if (sync && this.#hasUnsynced) await this.#syncLogs('older')
    } catch (error) {
      const failure = mapFailure(error, this.dir)
      this.#failed = { number, content, isFull: failure.code === 'store_full' }
      this.#status = 'failing'
      throw failure.code === 'store_damaged' || failure.code === 'store_permission'
        ? new SkeinError('store_failed', `A write in ${this.dir} failed: ${failure.message}`, { dir: this.dir }, error)
        : failure
    }
    this.#last = last
    this.#acknowledge(batch, sync)
  }

  #acknowledge(batch: LevelBatch, synced: boolean): void {
    this.#hasUnsynced = !synced
    this.#mark.record(this.#last, synced)
    this.#release(batch)
  }

  #release(batch: LevelBatch): void {
    const arena = batch.spend()
    if (arena.bytes.length <= KEPT_ARENA_BYTES) this.#spareArena = arena
  }

  async #syncLogs(which: 'older' | 'all'): Promise<void> {
    const location = join(this.dir, names.db)
    const logs = (await readdir(location)).filter((name) => name.endsWith('.log')).sort()
    for (const name of which === 'all' ? logs : logs.slice(0, -1)) {
      try {
        await using file = await openFile(join(location, name), 'r+')
        await file.sync()
      } catch (error) {
        // Its table was finished meanwhile, and that is synced.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      }
    }
  }

  /**
   * After a failed write LevelDB's handle fails for ever, so that it is closed and opened again: when the driver retries, and
   * only once there is room, since reads go on with the old handle and end with it. Returns the content hash of the
   * failed batch if it turns out to have arrived; it counts as written then.
   */
  async #recover(needBytes: number): Promise<Uint8Array | undefined> {
    const failed = this.#failed
    assert(failed !== undefined, 'there is a failure to recover from')
    try {
      if (failed.isFull && this.#database.status === 'open') await this.#assertRoom(needBytes)
      this.#status = 'reopening'
      await this.#database.close()
      this.#database = await openDatabase(join(this.dir, names.db), this.#tuning)
      const rows = await readWindow(this.#database)
      const head = typeof rows === 'string' ? undefined : rows.at(-1)
      const number = head?.number ?? 0
      const known = typeof rows === 'string' ? undefined : rows.find((row) => row.number === this.#last.number)
      const isLastThere = this.#last.number === 0 || (known !== undefined && equalBytes(known.chain, this.#last.chain))
      const hasArrived = number === failed.number && head !== undefined && equalBytes(head.content, failed.content)
      if (typeof rows === 'string' || !isLastThere || (number !== this.#last.number && !hasArrived)) {
        const what = typeof rows === 'string' ? rows : `batches ${number + 1} to ${this.#last.number} are missing`
        this.#final = new SkeinError(
          'store_damaged',
          `The store in ${this.dir} lost rows when it was reopened after a failed write: ${what}.`,
          {
            dir: this.dir,
          },
        )
        throw this.#final
      }
      this.#failed = undefined
      this.#status = 'open'
      // Opening wrote the log's content into synced tables.
      this.#hasUnsynced = false
      if (!hasArrived) return undefined
      this.#last = { number, chain: head.chain, timeMs: head.timeMs }
      return head.content
    } catch (error) {
      this.#status = 'failing'
      throw mapFailure(error, this.dir)
    }
  }

  /** Writes what a reopening will have to write, and takes it away again: quotas do not show in the free space. */
  async #assertRoom(needBytes: number): Promise<void> {
    const files = await listLevelFiles(join(this.dir, names.db))
    let need = needBytes + REOPEN_MARGIN_BYTES
    for (const file of files) if (file.kind === 'log') need += file.sizeBytes
    const { bavail, bsize } = await statfs(this.dir)
    if (bavail * bsize < need) {
      throw new SkeinError(
        'store_full',
        `The disk under ${this.dir} has ${bavail * bsize} bytes free and needs ${need}.`,
        {
          dir: this.dir,
          freeBytes: bavail * bsize,
          needBytes: need,
        },
      )
    }
    const path = join(this.dir, names.probe)
    try {
      await using file = await openFile(path, 'w')
      const chunk = new Uint8Array(MEBIBYTE).fill(0x5a)
      for (let at = 0; at < need; at += chunk.length) await file.write(chunk, 0, Math.min(chunk.length, need - at))
      await file.sync()
    } finally {
      await rm(path, { force: true })
    }
  }

  async *#pages(
    gte: Uint8Array,
    lt: Uint8Array,
    reverse: boolean,
    snapshot: ReturnType<Database['snapshot']> | undefined,
    database: Database = this.#database,
  ): AsyncGenerator<readonly Row[]> {
    if (this.#closing) throw this.#closed()
    const end = compareBytes(lt, reservedStart) > 0 ? reservedStart : lt
    if (compareBytes(gte, end) >= 0) return
    let iterator: ReturnType<Database['iterator']>
    try {
      iterator = database.iterator({
        gte,
        lt: end,
        reverse,
        highWaterMarkBytes: PAGE_BYTES,
        ...(snapshot && { snapshot }),
      })
    } catch (error) {
      throw this.#readFailure(error)
    }
    try {
      for (;;) {
        let page: [Uint8Array, Uint8Array][]
        try {
          page = (await iterator.nextv(PAGE_ROWS)) as [Uint8Array, Uint8Array][]
        } catch (error) {
          throw this.#readFailure(error)
        }
        if (page.length === 0) return
        const rows: Row[] = []
        for (const [key, stored] of page) rows.push([plain(key), valueOf(key, stored)])
        yield rows
      }
    } finally {
      await iterator.close()
    }
  }

  async scrub({ signal, onProgress }: ScrubOptions = {}): Promise<ScrubReport> {
    if (this.#closing) throw this.#closed()
    const damages: Damage[] = []
    let rows = 0
    let files = 0
    let sizeBytes = 0
    const told = (): void => onProgress?.({ rows, files, sizeBytes })
    const finish = (complete: boolean): ScrubReport => ({ rows, files, sizeBytes, damages, complete })
    try {
      const report = await verifyLevelFiles(join(this.dir, names.db), {
        boundBytes: Infinity,
        live: true,
        ...(signal && { signal }),
        onFile: (fileBytes) => {
          files++
          sizeBytes += fileBytes
          told()
        },
      })
      for (const damage of report.damages) damages.push({ ...damage, file: `${names.db}/${damage.file}` })
    } catch (error) {
      if (signal?.aborted) return finish(false)
      throw this.#readFailure(error)
    }
    // The rows once more through LevelDB: what it makes of the blocks, and our own checksums.
    let from: Uint8Array = Uint8Array.of(0)
    for (;;) {
      const database = this.#database
      let iterator: ReturnType<Database['iterator']>
      try {
        iterator = database.iterator({ gte: from, highWaterMarkBytes: PAGE_BYTES })
      } catch (error) {
        throw this.#readFailure(error)
      }
      let last = from
      try {
        for (;;) {
          if (signal?.aborted) return finish(false)
          const page = (await iterator.nextv(PAGE_ROWS)) as [Uint8Array, Uint8Array][]
          if (page.length === 0) return finish(true)
          for (const [key, stored] of page) {
            if (!isIntact(key, stored)) {
              damages.push({
                firstKey: plain(key),
                lastKey: plain(key),
                what: 'the row does not have the checksum that was written with it',
              })
            }
          }
          rows += page.length
          last = plain((page.at(-1) as [Uint8Array, Uint8Array])[0])
          told()
        }
      } catch (error) {
        const failure = this.#readFailure(error)
        if (failure.code !== 'store_damaged') throw failure
        const next = damages
          .map((damage) => damage.lastKey)
          .filter((key) => key !== undefined && compareBytes(key, last) >= 0)
          .sort((a, b) => compareBytes(a as Uint8Array, b as Uint8Array))[0]
        damages.push({ firstKey: last, ...(next && { lastKey: next }), what: 'LevelDB cannot read on from here' })
        if (next === undefined) return finish(true)
        const beyond = new Uint8Array(next.length + 1)
        beyond.set(next)
        if (compareBytes(beyond, from) <= 0) return finish(true)
        from = beyond
      } finally {
        await iterator.close()
      }
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /**
   * LevelDB drops what was overwritten only when it merges a table into another, and a table that was written from memory may
   * lie where nothing is above it, with all versions of its rows. So after a first round a row at either end is written anew: their
   * table overlaps all others, and the second round merges everything.
   */
  async compact(): Promise<void> {
    const database = this.#database as Database & Compacting
    try {
      await database.compactRange(firstKey, lastKey)
      // Gone as soon as they are there, whatever happens in between.
      const ends = database.batch()
      for (const key of [firstKey, lastKey]) ends.put(key, new Uint8Array(0)).del(key)
      await ends.write()
      await database.compactRange(firstKey, lastKey)
    } catch (error) {
      throw this.#readFailure(error)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    await this.#writing
    const inOrder = this.#failed === undefined && this.#final === undefined
    try {
      await this.#database.close()
      // Closing does not sync; a mark that says "in order" must not outlive the rows that it speaks of.
      if (inOrder && this.#hasUnsynced) {
        await this.#syncLogs('all')
        this.#mark.record(this.#last, true)
      }
      await this.#mark.close(inOrder)
    } catch (error) {
      await this.#mark.close(false)
      throw mapFailure(error, this.dir)
    } finally {
      this.#status = 'closed'
      await this.#lock.close()
    }
  }

  #closed(): SkeinError {
    return new SkeinError('closed', `The store in ${this.dir} is closed.`)
  }

  /** What a failed read means. */
  #readFailure(error: unknown): SkeinError {
    if (this.#closing) return this.#closed()
    const { code } = error as { code?: unknown }
    if (typeof code === 'string' && /^LEVEL_(DATABASE|ITERATOR|SNAPSHOT)_NOT_OPEN$/.test(code)) {
      return new SkeinError('busy', `The store in ${this.dir} is being reopened after a failed write.`)
    }
    return mapFailure(error, this.dir)
  }
}
