/**
 * One directory, many processes of a host: the first embeds the node and serves its stream on the socket in the directory,
 * the others connect to that. When the first one goes, whoever finds nobody at the socket tries to open the directory; the
 * lock of the store lets one in. All of them hold the same object, a client, also the one that hosts.
 */
import { connect as dial } from 'node:net'
import { SkeinError } from './base/errors.ts'
import { begin } from './client/client.ts'
import type { ConnectOptions, SkeinClient } from './client/client.ts'
import type { Where } from './client/session.ts'
import { dropOwner, noteOwner, ownerOf, socketPath } from './node/data-dir.ts'
import { createHttp } from './node/http/http.ts'
import type { HttpServer } from './node/http/http.ts'
import type { SkeinNode } from './node/node.ts'
import { openNode } from './open.ts'
import type { OpenOptions } from './open.ts'

/** Give every process the same: whichever hosts, opens the node by its own. */
export type OpenOrConnectOptions = Omit<OpenOptions, 'dir' | 'memory'> &
  Pick<ConnectOptions, 'timeoutMs' | 'signal' | 'tell'> & { readonly dir: string }

export async function openOrConnect(options: OpenOrConnectOptions): Promise<SkeinClient> {
  const { timeoutMs, signal, tell, ...own } = options ?? {}
  if (typeof own.dir !== 'string' || own.dir === '') {
    throw new SkeinError('invalid_argument', 'openOrConnect: give a dir', { argument: 'dir' })
  }
  const path = socketPath(own.dir)
  if (path === undefined) {
    throw new SkeinError('invalid_argument', `the path of ${own.dir} is too long for a socket in it`, { dir: own.dir })
  }
  const place = new Place(path, own)
  return begin(
    () => place.where(),
    {
      ...(own.agent !== undefined && { agent: own.agent }),
      ...(timeoutMs !== undefined && { timeoutMs }),
      ...(signal !== undefined && { signal }),
      ...(tell !== undefined && { tell }),
    },
    () => place.close(),
  )
}

class Place {
  readonly #path: string
  readonly #options: OpenOptions & { readonly dir: string }
  #looking: Promise<unknown> | undefined = undefined
  #node: SkeinNode | undefined = undefined
  #http: HttpServer | undefined = undefined
  #isClosed = false

  constructor(path: string, options: OpenOptions & { readonly dir: string }) {
    this.#path = path
    this.#options = options
  }

  /** Asked before each dial. Whoever hosts goes through the socket as well, so all see the same. */
  where(): Promise<Where> {
    const looking = this.#look()
    this.#looking = looking
    return looking
  }

  async #look(): Promise<Where> {
    const here: Where = { target: { kind: 'file', path: this.#path }, token: undefined }
    if (this.#http !== undefined || (await answers(this.#path))) return here
    if (this.#isClosed) throw new SkeinError('closed', 'it was closed meanwhile')
    await this.#open()
    return here
  }

  async #open(): Promise<void> {
    const { dir } = this.#options
    const node = await openNode(this.#options)
    try {
      if (this.#isClosed) throw new SkeinError('closed', 'it was closed meanwhile')
      // What a process that was killed left behind is no longer anybody's: the lock says so.
      this.#http = await createHttp({
        node,
        port: false,
        socketPath: this.#path,
        holdsProcess: false,
      })
      this.#node = node
      noteOwner(dir, { pid: process.pid, since: new Date().toISOString() })
    } catch (error) {
      await node.close()
      throw error
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    // What is being opened ends first, so that nothing is left behind in the directory.
    await this.#looking?.catch(() => undefined)
    if (this.#node === undefined) return
    await this.#http?.close()
    // Before the lock goes: behind it the note is another's.
    if (ownerOf(this.#options.dir)?.pid === process.pid) dropOwner(this.#options.dir)
    await this.#node.close()
    this.#node = undefined
  }
}

/** Is somebody there? A socket that a killed process left refuses. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dial({ path })
    const end = (isThere: boolean) => (): void => {
      socket.destroy()
      resolve(isThere)
    }
    socket.once('connect', end(true))
    socket.once('error', end(false))
  })
}
