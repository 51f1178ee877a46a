/**
 * What of a data directory is surely on the disk, and what only in the operating system's cache: watched, not assumed.
 * Calls that sync are observed where they leave JavaScript (the chained batches of `level`, FileHandle.sync, fsync);
 * what LevelDB does by itself is taken from its sources: tables and manifest are synced before anything refers to them,
 * a log only by a synced write, and only the log that it went to.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Level } from 'level'
import { checksum32 } from '../../src/base/hash.ts'

/** The directory as one moment left it. */
export interface Capture {
  readonly label: string
  /** Logs with their bytes, in their order, and how many of those bytes are on the disk. */
  readonly logs: readonly { readonly name: string; readonly bytes: Uint8Array; readonly synced: number }[]
  /** Tables, manifest, CURRENT and format, whole. */
  readonly others: ReadonlyMap<string, Uint8Array>
  /** Versions of the mark since it was synced last, the oldest first: of each page any may be on the disk. */
  readonly marks: readonly Uint8Array[]
}

/** Watches one directory at a time in this process. */
export class DiskWatch {
  readonly dir: string
  /** Bytes of each log that are on the disk. */
  #synced = new Map<string, number>()
  #syncedBefore = new Map<string, number>()
  readonly #tables = new Map<string, Uint8Array>()
  #marks: Uint8Array[] = []
  #marksBefore: readonly Uint8Array[] = []

  private constructor(dir: string) {
    this.dir = dir
  }

  static async start(dir: string, scratch: string): Promise<DiskWatch> {
    await patch(scratch)
    return (current = new DiskWatch(dir))
  }

  /** A table that is finished never changes and its number is never used again: one copy serves many captures. */
  #table(path: string): Uint8Array {
    const { size, mtimeMs } = fs.statSync(path)
    const version = `${path} ${size} ${mtimeMs}`
    let bytes = this.#tables.get(version)
    if (bytes === undefined) this.#tables.set(version, (bytes = read(path)))
    return bytes
  }

  get #db(): string {
    return join(this.dir, 'db')
  }

  /** Called before and after every write, so that no version of the mark goes unseen. */
  noteMark(): void {
    const bytes = readIfThere(join(this.dir, 'mark'))
    if (bytes === undefined) return
    const last = this.#marks.at(-1)
    if (last === undefined || !Buffer.from(last).equals(bytes)) this.#marks.push(bytes)
  }

  /** A synced write is done: the newest log is on the disk as far as it goes. */
  syncedWrite(location: string): void {
    if (location !== this.#db) return
    const newest = logNames(this.#db).at(-1)
    if (newest !== undefined) this.syncedFile(join(this.#db, newest))
  }

  syncedFile(path: string): void {
    if (path === join(this.dir, 'mark')) {
      this.noteMark()
      this.#marks.splice(0, this.#marks.length - 1)
    } else if (dirname(path) === this.#db && path.endsWith('.log')) {
      this.#synced.set(basename(path), fs.statSync(path).size)
    }
  }

  /**
   * The state after a commit and, where nothing was acknowledged yet, the state during it: the same bytes, of which
   * only those synced before are sure.
   */
  capture(label: string): { readonly after: Capture; readonly during: Capture } {
    this.noteMark()
    for (;;) {
      const before = listing(this.#db)
      const logs: { name: string; bytes: Uint8Array }[] = []
      const others = new Map<string, Uint8Array>()
      try {
        for (const name of fs.readdirSync(this.#db).sort()) {
          const path = join(this.#db, name)
          if (name.endsWith('.log')) logs.push({ name, bytes: read(path) })
          else if (name.endsWith('.ldb')) others.set(`db/${name}`, this.#table(path))
          else if (name === 'CURRENT' || name.startsWith('MANIFEST')) others.set(`db/${name}`, read(path))
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
        continue
      }
      // A compaction ran meanwhile: this would be no state that ever was.
      if (listing(this.#db) !== before) continue
      others.set('format', read(join(this.dir, 'format')))
      // Synced before the first batch, and never written again.
      const identity = readIfThere(join(this.dir, 'identity.key'))
      if (identity !== undefined) others.set('identity.key', identity)
      const state = (kind: string, synced: ReadonlyMap<string, number>, marks: readonly Uint8Array[]): Capture => ({
        label: `${kind} ${label}`,
        others,
        marks,
        logs: logs.map((log) => ({ ...log, synced: Math.min(synced.get(log.name) ?? 0, log.bytes.length) })),
      })
      const during = state('during', this.#syncedBefore, this.#marksBefore)
      const after = state('after', this.#synced, [...this.#marks])
      this.#syncedBefore = new Map(this.#synced)
      this.#marksBefore = [...this.#marks]
      return { after, during }
    }
  }
}

let current: DiskWatch | undefined
let patched: Promise<void> | undefined

interface Chained {
  readonly db: { readonly location?: string }
  write(options?: { sync?: boolean }): Promise<void>
}

/** Once in this process: the calls go on as they are, and are noted. */
function patch(scratch: string): Promise<void> {
  return (patched ??= (async () => {
    const database = new Level(join(scratch, 'patched'))
    await database.open()
    const batch = database.batch()
    const chained = Object.getPrototypeOf(Object.getPrototypeOf(batch) as object) as Chained
    await batch.close()
    await database.close()
    const write = Reflect.get(chained, 'write') as Chained['write']
    chained.write = async function (this: Chained, options) {
      current?.noteMark()
      await write.call(this, options)
      if (options?.sync === true && this.db.location !== undefined) current?.syncedWrite(this.db.location)
    }
    const { fsync, fsyncSync } = fs
    const pathOf = (file: number): string => fs.readlinkSync(`/proc/self/fd/${file}`)
    fs.fsyncSync = (file) => {
      fsyncSync(file)
      current?.syncedFile(pathOf(file))
    }
    const noted = (file: number, done: fs.NoParamCallback): void => {
      const path = pathOf(file)
      fsync(file, (error) => {
        if (error === null) current?.syncedFile(path)
        done(error)
      })
    }
    fs.fsync = Object.assign(noted, fsync)
    syncBuiltinESMExports()
    const handle = await open(join(scratch, 'handle'), 'w')
    const prototype = Object.getPrototypeOf(handle) as { sync(this: { fd: number }): Promise<void> }
    await handle.close()
    const sync = Reflect.get(prototype, 'sync') as typeof prototype.sync
    prototype.sync = async function () {
      const path = pathOf(this.fd)
      await sync.call(this)
      current?.syncedFile(path)
    }
  })())
}

function logNames(db: string): string[] {
  return fs
    .readdirSync(db)
    .filter((name) => name.endsWith('.log'))
    .sort()
}

function listing(db: string): string {
  return fs
    .readdirSync(db)
    .sort()
    .map((name) => {
      const facts = fs.statSync(join(db, name), { throwIfNoEntry: false })
      // Its own log of what it does (LOG) is none of our business.
      return name.startsWith('LOG') ? '' : `${name} ${facts?.size} ${facts?.mtimeMs} ${facts?.ino}`
    })
    .join('\n')
}

/** Plain bytes: the slices of a Buffer would all be views of one. */
function read(path: string): Uint8Array {
  return new Uint8Array(fs.readFileSync(path))
}

function readIfThere(path: string): Uint8Array | undefined {
  try {
    return read(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Puts a state back as a directory. */
export function layOut(dir: string, { logs, others, marks }: Capture): void {
  fs.mkdirSync(join(dir, 'db'), { recursive: true })
  for (const [name, bytes] of others) fs.writeFileSync(join(dir, name), bytes)
  for (const { name, bytes } of logs) fs.writeFileSync(join(dir, 'db', name), bytes)
  const mark = marks.at(-1)
  if (mark !== undefined) fs.writeFileSync(join(dir, 'mark'), mark)
}

const slotBytes = 128
const magic = 0x4b4d4b53

/** The mark as another run of the machine would have left it: power cuts come with a restart. */
export function ofAnotherBoot(mark: Uint8Array): Uint8Array {
  const bytes = mark.slice()
  for (const at of [0, 4096]) {
    if (bytes.length < at + slotBytes) continue
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, slotBytes)
    if (view.getUint32(0, true) !== magic) continue
    bytes.fill(0xb0, at + 80, at + 96)
    view.setUint32(slotBytes - 4, checksum32(bytes, at, at + slotBytes - 4, magic), true)
  }
  return bytes
}
