/**
 * What a running node keeps in its data directory beside the store: the tokens of agents, its own socket, and a note of
 * who has it open, so that whoever finds it locked is told by whom.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'

export interface Owner {
  readonly pid: number
  readonly http?: string
  readonly since: string
}

export function tokensPath(dir: string): string {
  return join(dir, 'tokens.json')
}

/** The token of the operator, where the node made it. */
export function operatorTokenPath(dir: string): string {
  return join(dir, 'operator.token')
}

/** Longer paths than this no system takes for a socket. Linux takes 107 bytes, macOS 103. */
const socketPathBytes = 103

/** Undefined where the path is too long for a socket, or the system has none in files. */
export function socketPath(dir: string): string | undefined {
  const path = join(resolve(dir), 'node.sock')
  return process.platform === 'win32' || Buffer.byteLength(path) > socketPathBytes ? undefined : path
}

/** Of all that stands in it. Files come and go while they are counted: what is gone by then is nothing. */
export async function directoryBytes(dir: string): Promise<number> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  let sizeBytes = 0
  for (const entry of entries) {
    if (!entry.isFile()) continue
    const found = await stat(join(entry.parentPath, entry.name)).catch(() => undefined)
    sizeBytes += found?.size ?? 0
  }
  return sizeBytes
}

/** A note for people: what keeps others out is the lock of the store. */
export function noteOwner(dir: string, owner: Owner): void {
  try {
    writeFileSync(ownerPath(dir), `${JSON.stringify(owner)}\n`, { mode: 0o600 })
  } catch {
    // Whoever cannot be told by whom is still told that it is locked.
  }
}

export function dropOwner(dir: string): void {
  rmSync(ownerPath(dir), { force: true })
}

export function ownerOf(dir: string): Owner | undefined {
  try {
    const owner = JSON.parse(readFileSync(ownerPath(dir), 'utf8')) as Partial<Owner>
    if (typeof owner.pid !== 'number' || typeof owner.since !== 'string') return undefined
    return { pid: owner.pid, since: owner.since, ...(typeof owner.http === 'string' && { http: owner.http }) }
  } catch {
    return undefined
  }
}

function ownerPath(dir: string): string {
  return join(dir, 'owner.json')
}
