/**
 * Calling something outside: a function of the program, a webhook, a command. Whatever it is, it gets one JSON document and
 * answers with one, within a time and a size; that it hangs, floods or dies ends in an error here.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createHmac } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { limits } from '../../base/limits.ts'
import { jsonOf } from '../http/json.ts'
import { isPublic, notAllowed, publicLookup } from './address.ts'

export type Endpoint =
  | { readonly kind: 'function'; readonly call: (body: never, signal: AbortSignal) => unknown }
  | {
      readonly kind: 'webhook'
      readonly url: string
      /** Signs what is sent; without it the receiver cannot know who asks. */
      readonly secret?: string | undefined
      /** May the host be one of this network, or this host itself? */
      readonly allowPrivate?: boolean
    }
  /** Gets the document on its standard input and answers on its standard output. No shell is involved. */
  | { readonly kind: 'command'; readonly command: readonly string[] }

/** The other side said that it will not do it: to ask again would change nothing. */
export class Refused extends Error {}

export interface Asking {
  /** The same for every attempt: who gets it twice knows it. */
  readonly key: string
  readonly body: unknown
  readonly timeoutMs: number
  readonly signal: AbortSignal
  readonly now: () => number
}

export async function callEndpoint(endpoint: Endpoint, asking: Asking): Promise<unknown> {
  const within = AbortSignal.any([asking.signal, AbortSignal.timeout(asking.timeoutMs)])
  switch (endpoint.kind) {
    case 'function':
      return await ofTime(Promise.resolve(endpoint.call(asking.body as never, within)), within)
    case 'webhook':
      return await post(endpoint, asking, within)
    case 'command':
      return await run(endpoint.command, asking, within)
  }
}

/** A function that does not look at its signal is not waited for either. */
async function ofTime<T>(work: Promise<T>, within: AbortSignal): Promise<T> {
  within.throwIfAborted()
  const { promise: over, reject } = Promise.withResolvers<never>()
  const end = (): void => reject(reasonOf(within))
  within.addEventListener('abort', end, { once: true })
  try {
    return await Promise.race([work, over])
  } finally {
    within.removeEventListener('abort', end)
    over.catch(() => undefined)
  }
}

function reasonOf({ reason }: AbortSignal): Error {
  return reason instanceof Error ? reason : new Error(String(reason))
}

/** What the receiver compares: the time is signed too, so that what was heard once cannot be said again later. */
export function signatureOf(secret: string, atMs: number, body: string): string {
  return `t=${atMs},v1=${createHmac('sha256', secret).update(`${atMs}.${body}`).digest('hex')}`
}

async function post(
  { url, secret, allowPrivate = false }: Endpoint & { readonly kind: 'webhook' },
  { key, body, now }: Asking,
  signal: AbortSignal,
): Promise<unknown> {
  const target = new URL(url)
  const host = target.hostname.replace(/^\[|\]$/g, '')
  if (!allowPrivate && isIP(host) !== 0 && !isPublic(host)) throw new Refused(notAllowed(host, host).message)
  const text = JSON.stringify(jsonOf(body))
  // Imported, it would bring along a client of the system's own, which costs a start what nobody may ever use.
  const { request: send } = process.getBuiltinModule(target.protocol === 'https:' ? 'node:https' : 'node:http')
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const sent = send(
    target,
    {
      method: 'POST',
      signal,
      // A connection of its own, to an address that was just looked at.
      agent: false,
      ...(!allowPrivate && { lookup: publicLookup }),
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
        'user-agent': 'skein',
        'idempotency-key': key,
        ...(secret !== undefined && { 'skein-signature': signatureOf(secret, now(), text) }),
      },
    },
    resolve,
  )
  sent.on('error', reject)
  sent.end(text)
  const answer = await promise
  const { statusCode = 0 } = answer
  // Where a redirect leads is somebody else's word; it is not followed.
  if (statusCode >= 300) {
    answer.resume()
    const mayRetry = statusCode >= 500 || [408, 425, 429].includes(statusCode)
    const said = `${target.host} answered ${statusCode}`
    throw mayRetry ? new Error(said) : new Refused(said)
  }
  return parsed(await textOf(answer, () => sent.destroy()))
}

async function run(command: readonly string[], { key, body }: Asking, signal: AbortSignal): Promise<unknown> {
  signal.throwIfAborted()
  const [file = '', ...args] = command
  const child = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'ignore'],
    // A group of its own: what it has started ends with it.
    detached: true,
    env: { PATH: process.env['PATH'], SKEIN_KEY: key },
  })
  const { promise: ended, resolve, reject } = Promise.withResolvers<number | null>()
  child.on('error', reject)
  child.on('close', resolve)
  ended.catch(() => undefined)
  // Whoever has left the group may still hold the output, which is not waited for.
  const end = (): void => {
    endGroup(child)
    child.stdout.destroy(reasonOf(signal))
  }
  signal.addEventListener('abort', end, { once: true })
  try {
    // A command that does not read what it is told has a right to.
    child.stdin.on('error', () => undefined)
    child.stdin.end(JSON.stringify(jsonOf(body)))
    const text = await textOf(child.stdout, () => endGroup(child))
    const status = await ended
    if (status !== 0) throw new Error(`${file} ended with ${status ?? 'a signal'}`)
    return parsed(text)
  } finally {
    signal.removeEventListener('abort', end)
  }
}

function endGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // There are no groups here, or nobody is left in it.
    child.kill('SIGKILL')
  }
}

async function textOf(stream: AsyncIterable<Buffer>, end: () => void): Promise<string> {
  const pieces: Buffer[] = []
  let size = 0
  for await (const piece of stream) {
    size += piece.length
    if (size > limits.answerBytes) {
      end()
      throw new Refused(`the answer is longer than ${limits.answerBytes} bytes`)
    }
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString()
}

/** Many receivers answer `ok` or nothing at all. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text.trim() === '' ? undefined : text.slice(0, 1024)
  }
}
