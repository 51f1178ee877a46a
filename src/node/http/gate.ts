/**
 * Who comes in. A page in somebody's browser can send requests to loopback, and DNS can be made to lead any name there: so
 * the Host header must name this host, and a request that says it comes from a page is refused, unless its origin is
 * configured. Then a token says who it is; without tokens, whoever is on this host may do everything.
 */
import { isIP } from 'node:net'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { TokenStore } from '../security/tokens.ts'
import { trusted } from '../security/caller.ts'
import type { Caller } from '../security/caller.ts'

export interface GateOptions {
  /** Names and addresses that this host is called by, beside those of loopback. */
  readonly names: readonly string[]
  /** Origins of web pages that may ask. */
  readonly origins: readonly string[]
  readonly tokens: TokenStore | undefined
  readonly requestsPerSecond: number
  readonly now: () => number
}

const onThisHost = trusted('local')
const atTheSocket = trusted('socket')

export class Gate {
  readonly #names: ReadonlySet<string>
  readonly #origins: ReadonlySet<string>
  readonly #tokens: TokenStore | undefined
  readonly #perSecond: number
  readonly #now: () => number
  readonly #allowances = new Map<string, { left: number; atMs: number }>()
  /** The Host header that was let in last: nearly every request of a connection has the same. */
  #lastHost: string | undefined = undefined

  constructor({ names, origins, tokens, requestsPerSecond, now }: GateOptions) {
    this.#names = new Set(['localhost', '127.0.0.1', '::1', ...names].map((name) => name.toLowerCase()))
    this.#origins = new Set(origins)
    this.#tokens = tokens
    this.#perSecond = requestsPerSecond
    this.#now = now
  }

  /** Answers the origin to allow in the answer, where a configured page asks. */
  checkSource(headers: IncomingHttpHeaders): string | undefined {
    const { host, origin } = headers
    if (host === undefined || host !== this.#lastHost) {
      if (!this.#names.has(hostName(host ?? ''))) {
        throw new SkeinError('host_refused', `this node is not called ${JSON.stringify(host ?? '')}`)
      }
      this.#lastHost = host
    }
    if (origin !== undefined) {
      if (this.#origins.has(origin)) return origin
      throw new SkeinError('origin_refused', `pages of ${JSON.stringify(origin)} may not ask this node`)
    }
    // A page asks for pictures and scripts without an Origin; its browser still says that they are for another site.
    const site = headers['sec-fetch-site']
    if (site !== undefined && site !== 'same-origin' && site !== 'none') {
      throw new SkeinError('origin_refused', 'another site may not ask this node')
    }
    return undefined
  }

  /** `requests` count against the rate of the token. */
  callerOf(request: IncomingMessage, isAdminSocket: boolean, requests: number = 1): Caller {
    const {
      headers: { authorization },
      socket,
    } = request
    if (authorization === undefined) {
      if (isAdminSocket) return atTheSocket
      if (this.#tokens?.everMade !== true && isLoopback(socket.remoteAddress)) return onThisHost
      throw new SkeinError('unauthenticated', 'an agent token is needed here')
    }
    const secret = /^Bearer +(\S+)$/i.exec(authorization)?.[1]
    const caller = secret === undefined ? undefined : this.#tokens?.find(secret)
    if (caller === undefined) throw new SkeinError('unauthenticated', 'the token is not known here, or was revoked')
    if (requests > 0) this.#spend(caller.id, requests)
    return caller
  }

  /** A bucket a token: it fills at its rate, and holds one second's worth. */
  #spend(id: string, requests: number): void {
    const nowMs = this.#now()
    const full = this.#perSecond
    let allowance = this.#allowances.get(id)
    if (allowance === undefined) {
      if (this.#allowances.size >= limits.agentTokens) this.#allowances.clear()
      this.#allowances.set(id, (allowance = { left: full, atMs: nowMs }))
    }
    allowance.left = Math.min(full, allowance.left + (Math.max(0, nowMs - allowance.atMs) * full) / 1000)
    allowance.atMs = nowMs
    if (allowance.left < 1) {
      throw new SkeinError('rate_limited', `more than ${full} requests a second`, {
        retryAfterMs: Math.ceil((1000 * (1 - allowance.left)) / full),
      })
    }
    // A frame of many may overdraw once; the next then waits for all of it.
    allowance.left -= requests
  }
}

/** Without its port, and an IPv6 address without its brackets. */
function hostName(host: string): string {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d{1,5})?$/.exec(host) ?? []
  return (bracketed ?? plain ?? '').toLowerCase()
}

export function isLoopback(address: string | undefined): boolean {
  if (address === undefined) return false
  const plain = address.startsWith('::ffff:') ? address.slice(7) : address
  return plain === '::1' || (isIP(plain) === 4 && plain.startsWith('127.'))
}
