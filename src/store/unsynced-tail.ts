/**
 * After a power cut, bytes that had never been synced may be there in any mixture: some sectors of the log old, some new, a
 * record broken and whole ones behind it. That is no damage, it is the loss that writing without a sync accepts; but
 * LevelDB would skip the broken record and apply the later ones, and leave a hole. So the log is cut where it first
 * breaks, and what comes before must hold every batch that was synced, or nothing is done.
 *
 * All of it happens in a trial copy beside the database (tables are linked, logs copied): the original stays as it is
 * until the trial has been opened and compared with the mark. A crash in between leaves either of them whole.
 */
import { copyFile, link, mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { names, syncDirectory } from './directory.ts'
import { classifyLevelFile, listLevelFiles } from './level-files.ts'
import type { FileDamage } from './level-files.ts'

/** Where the logs break first, if nothing but logs is broken. */
export function firstBreak(damages: readonly FileDamage[]): FileDamage | undefined {
  let first: FileDamage | undefined
  for (const damage of damages) {
    const { kind, number } = classifyLevelFile(damage.file)
    if (kind !== 'log') return undefined
    const before = first === undefined ? Infinity : classifyLevelFile(first.file).number
    if (number < before || (number === before && damage.offset < (first as FileDamage).offset)) first = damage
  }
  return first
}

/** Makes the trial: the database up to the break. Answers its path. */
export async function makeTrial(dir: string, at: FileDamage): Promise<string> {
  const from = join(dir, names.db)
  const trial = join(dir, names.trial)
  await rm(trial, { recursive: true, force: true })
  await mkdir(trial)
  const last = classifyLevelFile(at.file).number
  for (const { name, kind, number } of await listLevelFiles(from)) {
    if (kind === 'table') await link(join(from, name), join(trial, name))
    else if (kind === 'log' && number === last) {
      await writeFile(join(trial, name), (await readFile(join(from, name))).subarray(0, at.offset), { flush: true })
    } else if (kind === 'current' || kind === 'manifest' || (kind === 'log' && number < last)) {
      await copyFile(join(from, name), join(trial, name))
    }
  }
  return trial
}

/** Puts the trial in the place of the database, and keeps the logs that were cut. Answers where. */
export async function adoptTrial(dir: string, now: Date): Promise<string> {
  const kept = join(dir, `${names.cutLogs}${now.toISOString().replace(/[:.]/g, '-')}`)
  await rename(join(dir, names.db), kept)
  await rename(join(dir, names.trial), join(dir, names.db))
  await syncDirectory(dir)
  for (const name of await readdir(kept)) {
    if (classifyLevelFile(name).kind !== 'log') await rm(join(kept, name), { force: true })
  }
  return kept
}

export function dropTrial(dir: string): Promise<void> {
  return rm(join(dir, names.trial), { recursive: true, force: true })
}

/** Before anything else at an opening: ends what a crash left half done. */
export async function settleTrial(dir: string): Promise<void> {
  if (!(await exists(join(dir, names.trial)))) return
  // Only a trial that was opened and compared is ever there without the database.
  if (await exists(join(dir, names.db))) await dropTrial(dir)
  else await rename(join(dir, names.trial), join(dir, names.db))
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
