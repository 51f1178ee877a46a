/**
 * The data directory around the database: whose it is, of which version, and how it is moved aside.
 *
 * | name | what |
 * | --- | --- |
 * | format | whose directory this is and of which version; written first, and whole or not at all |
 * | mark | the high-water mark, see mark.ts |
 * | lock/ | an empty LevelDB, opened for its lock alone, see level.ts |
 * | db/ | the database |
 * | db.trial/ | a copy of the database while its log is being cut, see unsynced-tail.ts |
 * | identity.key | who the node is: not the store's, see docs/STORAGE.md |
 * | cut-logs-…/ | logs as they were before they were cut; nothing reads them |
 * | probe, format.new, identity.key.new | leftovers of a crash; removed |
 */
import { mkdir, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { utf8 } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { checksum32 } from '../base/hash.ts'
import { readMark } from './mark.ts'

const PRODUCT = 'skein'
/** Raised when an older version could no longer read what this one writes. */
export const FORMAT_VERSION = 1
const CHECK_SEED = 0x736b6569 // "skei"

export const names = {
  format: 'format',
  formatNew: 'format.new',
  mark: 'mark',
  lock: 'lock',
  db: 'db',
  probe: 'probe',
  trial: 'db.trial',
  identity: 'identity.key',
  identityNew: 'identity.key.new',
  /** With the time behind it. */
  cutLogs: 'cut-logs-',
} as const

const ours: ReadonlySet<string> = new Set(Object.values(names))
/** What may stand in a directory whose making a crash cut short, before there is a format. */
const beginnings: ReadonlySet<string> = new Set([names.formatNew, names.lock])

/**
 * What stands at `dir`: nothing yet, or a store of ours. Reads only. Anything else throws: `store_foreign`,
 * `store_newer`, or `store_damaged` where it was a store of ours.
 */
export async function inspectDirectory(dir: string): Promise<'new' | 'ours'> {
  const found = await readdir(dir).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  const text = await readFile(join(dir, names.format), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'EISDIR') return undefined
    throw error
  })
  if (text === undefined && found.every((name) => beginnings.has(name))) return 'new'
  const format = text === undefined ? undefined : parseFormat(text)
  if (format === undefined) {
    const wasOurs = found.includes(names.db) && readMark(join(dir, names.mark)).state !== undefined
    if (wasOurs || (text?.includes(PRODUCT) === true && found.every((name) => ours.has(name)))) {
      throw new SkeinError(
        'store_damaged',
        `The file "format" in ${dir} ${text === undefined ? 'is gone' : 'does not have the checksum that was written with it'}.`,
        {
          file: names.format,
        },
      )
    }
    throw new SkeinError('store_foreign', `${dir} holds something that is not a Skein store; nothing was changed.`, {
      dir,
      found: found.slice(0, 8),
    })
  }
  if (format.version > FORMAT_VERSION) {
    throw new SkeinError(
      'store_newer',
      `${dir} has format version ${format.version}; this version of Skein reads up to ${FORMAT_VERSION}.`,
      { dir, version: format.version, reads: FORMAT_VERSION },
    )
  }
  return 'ours'
}

/**
 * One line of JSON that ends with the checksum of all that stands before it. Every later version keeps to that, so that a
 * flipped digit is not taken for a newer version.
 */
export function formatText(version: number, created: string): string {
  const body = JSON.stringify({ product: PRODUCT, version, created }).slice(0, -1)
  const bytes = utf8(body)
  return `${body},"check":"${checksum32(bytes, 0, bytes.length, CHECK_SEED).toString(16).padStart(8, '0')}"}\n`
}

function parseFormat(text: string): { version: number } | undefined {
  const end = text.lastIndexOf(',"check":"')
  if (end === -1) return undefined
  const bytes = utf8(text.slice(0, end))
  const check = checksum32(bytes, 0, bytes.length, CHECK_SEED).toString(16).padStart(8, '0')
  if (text.slice(end) !== `,"check":"${check}"}\n`) return undefined
  try {
    const parsed = JSON.parse(text) as { product?: unknown; version?: unknown }
    return parsed.product === PRODUCT && typeof parsed.version === 'number' ? { version: parsed.version } : undefined
  } catch {
    return undefined
  }
}

/** Writes the format: after it the directory is ours, before it it counts as new. */
export async function createFormat(dir: string): Promise<void> {
  const fresh = join(dir, names.formatNew)
  await using file = await open(fresh, 'w')
  await file.writeFile(formatText(FORMAT_VERSION, new Date().toISOString()))
  await file.sync()
  await rename(fresh, join(dir, names.format))
  await syncDirectory(dir)
}

/** Makes the directory and those above it, and syncs the entry of each that was made. */
export async function makeDirectory(dir: string): Promise<void> {
  const first = await mkdir(dir, { recursive: true })
  if (first === undefined) return
  for (let made = dir; made.length >= first.length; made = dirname(made)) await syncDirectory(dirname(made))
}

/** Makes renames and new names durable. Windows has no such call, nor need of it. */
export async function syncDirectory(dir: string): Promise<void> {
  if (process.platform === 'win32') return
  await using handle = await open(dir, 'r')
  await handle.sync()
}

/** Moves a directory to a free name beside it. Nothing is deleted or overwritten. */
export async function moveAside(dir: string, now: Date): Promise<string> {
  const stamp = now.toISOString().replaceAll(/[-:]|\.\d+/g, '')
  for (let attempt = 1; ; attempt++) {
    const target = join(dirname(dir), `${basename(dir)}.damaged-${stamp}${attempt === 1 ? '' : `-${attempt}`}`)
    // Renaming onto an empty directory would replace it, and there is no rename that refuses.
    if ((await stat(target).catch(() => undefined)) !== undefined) continue
    await rename(dir, target)
    await syncDirectory(dirname(dir))
    return target
  }
}

export async function removeLeftovers(dir: string): Promise<void> {
  await rm(join(dir, names.probe), { force: true })
  await rm(join(dir, names.formatNew), { force: true })
  await rm(join(dir, names.identityNew), { force: true })
}
