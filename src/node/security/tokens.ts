/**
 * Agent tokens: who may do what over HTTP. A token is 32 random bytes and is shown once, when it is made; the file holds
 * only its SHA-256 (random bytes need no slow hash). The file is written whole and put in place by a rename. Another process
 * may change it (the command line does): it is looked at again at most once a second.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { chmodSync, closeSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { checkName } from '../space-handle.ts'
import { rights } from './caller.ts'
import type { Caller, Grant, Right } from './caller.ts'

export interface TokenFacts {
  /** Names the token in lists and logs; it tells nothing of the secret. */
  readonly id: string
  readonly agent: string
  readonly grants: readonly Grant[]
  /** Wall milliseconds. */
  readonly createdMs: number
  /** Wall milliseconds; it is not taken from then on. */
  readonly expiresMs?: number
}

interface StoredToken extends TokenFacts {
  /** SHA-256 of the whole token, in hexadecimal. */
  readonly hash: string
}

export interface NewToken {
  readonly agent: string
  /** Everything to read and write unless told otherwise. */
  readonly grants?: readonly { readonly space?: string; readonly prefix?: string; readonly rights: readonly Right[] }[]
  readonly expiresMs?: number
}

const version = 1
const lookAgainMs = 1000
const tokenPattern = /^skt1_[A-Za-z0-9_-]{43}$/

export class TokenStore {
  readonly #path: string
  readonly #now: () => number
  #byHash = new Map<string, { readonly stored: StoredToken; readonly caller: Caller }>()
  #stamp = ''
  #lookedMs = -Infinity

  /** `path` is the file, in the data directory; it need not be there. */
  constructor(path: string, now: () => number = Date.now) {
    this.#path = path
    this.#now = now
    this.#look(true)
  }

  /** Once a token was made, nobody comes in without one, though all were revoked since. */
  get everMade(): boolean {
    this.#look()
    return this.#stamp !== ''
  }

  list(): TokenFacts[] {
    this.#look(true)
    return [...this.#byHash.values()].map(({ stored: { hash: _hash, ...facts } }) => facts)
  }

  /** The token itself is in this answer and nowhere else. */
  create({
    agent,
    grants = [{ rights: ['read', 'write'] }],
    expiresMs,
  }: NewToken): TokenFacts & { readonly token: string } {
    checkName(agent, 'agent name', limits.agentBytes)
    this.#look(true)
    if (this.#byHash.size >= limits.agentTokens) {
      throw new SkeinError('too_large', `a node holds at most ${limits.agentTokens} tokens`, {
        limit: limits.agentTokens,
      })
    }
    const token = `skt1_${randomBytes(32).toString('base64url')}`
    const facts: TokenFacts = {
      id: randomBytes(6).toString('hex'),
      agent,
      grants: checkedGrants(grants),
      createdMs: this.#now(),
      ...(expiresMs !== undefined && { expiresMs }),
    }
    this.#write([...this.#stored(), { ...facts, hash: hashOf(token).toString('hex') }])
    return { ...facts, token }
  }

  /** False when there is none of that id. It is not taken from now on. */
  revoke(id: string): boolean {
    this.#look(true)
    const left = this.#stored().filter((stored) => stored.id !== id)
    if (left.length === this.#byHash.size) return false
    this.#write(left)
    return true
  }

  /** Who sends this token, if it is one. */
  find(token: string): Caller | undefined {
    if (!tokenPattern.test(token)) return undefined
    this.#look()
    const hash = hashOf(token)
    // The lookup goes by the digest of what was sent, which tells a guesser nothing; the comparison takes its time anyway.
    const found = this.#byHash.get(hash.toString('hex'))
    if (found === undefined || !timingSafeEqual(hash, Buffer.from(found.stored.hash, 'hex'))) return undefined
    const { expiresMs } = found.stored
    return expiresMs !== undefined && expiresMs <= this.#now() ? undefined : found.caller
  }

  #stored(): StoredToken[] {
    return [...this.#byHash.values()].map(({ stored }) => stored)
  }

  #look(now: boolean = false): void {
    const nowMs = performance.now()
    if (!now && nowMs - this.#lookedMs < lookAgainMs) return
    this.#lookedMs = nowMs
    const stats = statSync(this.#path, { throwIfNoEntry: false })
    // A file that is gone again does not open the door.
    if (stats === undefined) return
    const stamp = `${stats.ino}:${stats.mtimeMs}:${stats.size}`
    if (stamp === this.#stamp) return
    this.#take(parsed(readFileSync(this.#path, 'utf8'), this.#path), stamp)
  }

  #take(tokens: readonly StoredToken[], stamp: string): void {
    this.#byHash = new Map(
      tokens.map((stored) => [
        stored.hash,
        { stored, caller: { id: `token:${stored.id}`, agent: stored.agent, grants: stored.grants } },
      ]),
    )
    this.#stamp = stamp
  }

  #write(tokens: readonly StoredToken[]): void {
    const fresh = `${this.#path}.new`
    try {
      const file = openSync(fresh, 'w', 0o600)
      try {
        writeSync(file, `${JSON.stringify({ version, tokens }, undefined, 2)}\n`)
        fsyncSync(file)
      } finally {
        closeSync(file)
      }
      chmodSync(fresh, 0o600)
      renameSync(fresh, this.#path)
      syncDirectory(dirname(this.#path))
    } catch (error) {
      throw new SkeinError('file_failed', `${this.#path} cannot be written`, {}, error)
    }
    this.#look(true)
  }
}

/** So that a revoked token is not back after the power failed. Some systems cannot; there the rename must do. */
function syncDirectory(path: string): void {
  if (process.platform === 'win32') return
  const directory = openSync(path, 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

function checkedGrants(given: NonNullable<NewToken['grants']>): Grant[] {
  if (given.length === 0 || given.length > limits.tokenGrants) {
    throw new SkeinError('invalid_argument', `a token has 1 to ${limits.tokenGrants} grants`, { argument: 'grants' })
  }
  return given.map(({ space = '*', prefix = '', rights: wanted }) => {
    checkName(space, 'space name', limits.spaceNameBytes)
    if (wanted.length === 0 || !wanted.every((right) => rights.includes(right))) {
      throw new SkeinError('invalid_argument', `rights are some of ${rights.join(', ')}`, { argument: 'rights' })
    }
    return { space, prefix, rights: [...new Set(wanted)] }
  })
}

/** A file that cannot be understood lets nobody in: better no answer than the wrong one. */
function parsed(text: string, path: string): StoredToken[] {
  try {
    const file = JSON.parse(text) as { readonly version?: unknown; readonly tokens?: unknown }
    if (file.version === version && Array.isArray(file.tokens) && file.tokens.every(isStored)) return file.tokens
  } catch {
    // Told below.
  }
  throw new SkeinError('malformed', `${path} is not a file of tokens as this version writes it`)
}

function isStored(token: unknown): token is StoredToken {
  if (typeof token !== 'object' || token === null) return false
  const { id, agent, hash, createdMs, expiresMs, grants } = token as Readonly<Record<string, unknown>>
  return (
    typeof id === 'string' &&
    typeof agent === 'string' &&
    typeof hash === 'string' &&
    /^[0-9a-f]{64}$/.test(hash) &&
    typeof createdMs === 'number' &&
    (expiresMs === undefined || typeof expiresMs === 'number') &&
    Array.isArray(grants) &&
    grants.every(isGrant)
  )
}

function isGrant(grant: unknown): grant is Grant {
  if (typeof grant !== 'object' || grant === null) return false
  const { space, prefix, rights: own } = grant as Readonly<Record<string, unknown>>
  return (
    typeof space === 'string' &&
    typeof prefix === 'string' &&
    Array.isArray(own) &&
    own.every((right) => (rights as readonly unknown[]).includes(right))
  )
}
