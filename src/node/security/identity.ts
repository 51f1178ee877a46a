/**
 * Who a node is: an ed25519 key, in the file `identity.key` of its data directory, readable by its user alone. Its id is a hash of
 * the public half. A node that keeps nothing on disk gets a new one every time.
 */
import { createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto'
import { open, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex } from '../../base/bytes.ts'
import { SkeinError } from '../../base/errors.ts'
import { nodeIdOf } from '../../transport/transport.ts'
import type { Identity } from '../../transport/transport.ts'
import { parseSecretText, secretBytes, secretText } from './secret-text.ts'

export interface NodeIdentity extends Identity {
  /** 16 hexadecimal digits. */
  readonly node: string
}

const fileName = 'identity.key'
const freshName = 'identity.key.new'
/** "Skein identity, form 1". */
const start = 'ski1_'
/** RFC 8410: what stands before the 32 bytes of an ed25519 private key in DER. */
const derBefore = fromHex('302e020100300506032b657004220420')

/** The identity whose private key is these 32 bytes. */
export function identityOf(secret: Uint8Array): NodeIdentity {
  const key = createPrivateKey({ key: Buffer.concat([derBefore, secret]), format: 'der', type: 'pkcs8' })
  const publicKey = new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32))
  return { publicKey, node: nodeIdOf(publicKey), sign: (bytes) => sign(null, bytes, key) }
}

export function ephemeralIdentity(): NodeIdentity {
  return identityOf(randomBytes(secretBytes))
}

/**
 * The identity kept in a data directory, which must be locked by this process and hold its store already. `known` is the node
 * that the store says it belongs to: then the file must be there, and be that node's, since one made anew would be
 * another node. Without it the file is made when it is not there.
 */
export async function openIdentity(dir: string, known: string | undefined): Promise<NodeIdentity> {
  const path = join(dir, fileName)
  const damaged = (what: string, cause?: unknown): SkeinError =>
    new SkeinError('identity_damaged', `the identity key ${path} ${what}`, { file: path }, cause)
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw damaged(`cannot be read: ${error.message}`, error)
  })
  if (text === undefined) {
    if (known !== undefined) throw damaged(`is gone, and the directory belongs to node ${known}`)
    const secret = new Uint8Array(randomBytes(secretBytes))
    await create(dir, secret).catch((error: unknown) => {
      throw new SkeinError('file_failed', `the identity key ${path} cannot be written`, { file: path }, error)
    })
    return identityOf(secret)
  }
  const secret = parseSecretText(start, text)
  if (typeof secret === 'string') throw damaged(`is damaged: ${secret}`)
  const identity = identityOf(secret)
  if (known !== undefined && identity.node !== known) {
    throw damaged(`is that of node ${identity.node}, and the directory belongs to node ${known}`)
  }
  await keepToUser(path)
  return identity
}

/** Puts an identity that was kept elsewhere into a directory that has none. */
export async function keepIdentity(dir: string, text: string): Promise<void> {
  const secret = parseSecretText(start, text)
  if (typeof secret === 'string') throw new SkeinError('identity_damaged', `this is no identity key: ${secret}`)
  await create(dir, secret)
}

/** Whole or not at all, and for this user alone from its first byte. */
async function create(dir: string, secret: Uint8Array): Promise<void> {
  const fresh = join(dir, freshName)
  await rm(fresh, { force: true })
  {
    await using file = await open(fresh, 'wx', 0o600)
    await file.writeFile(`${secretText(start, secret)}\n`)
    await file.sync()
  }
  await rename(fresh, join(dir, fileName))
  // Windows has no such call, nor need of it.
  if (process.platform === 'win32') return
  await using handle = await open(dir, 'r')
  await handle.sync()
}

/** A copy made by hand is often readable by others. Who cannot change that is told by the system's own rights. */
async function keepToUser(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const { mode } = await stat(path)
  if ((mode & 0o077) === 0) return
  await using file = await open(path, 'r')
  await file.chmod(0o600).catch(() => undefined)
}
