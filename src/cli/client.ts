/**
 * The node, over HTTP. Written on `node:http` alone: a command that says one thing should not load half a library to
 * say it. A node that does not answer is `OutOfReach`, one that answers with a problem is `Refused`.
 */
import type { ClientRequest, IncomingMessage } from 'node:http'
import { urlToHttpOptions } from 'node:url'
import { OutOfReach, Refused, UsageError } from './command.ts'
import { program } from './program.ts'

/** A guess: a loopback node answers in milliseconds, a far one in tenths; writes say themselves how long they wait. */
const answerMs = 15_000
/** Answers that are read whole; what may be larger is streamed. */
const answerBytes = 64 * 1024 * 1024

export interface ClientConfig {
  readonly node: string
  readonly token: string | undefined
  readonly agent: string | undefined
}

export interface Ask {
  readonly query?: Readonly<Record<string, string | readonly string[] | number | undefined>>
  readonly headers?: Readonly<Record<string, string | undefined>>
  readonly body?: unknown
  /** How long the answer may take; streams have none. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export interface ServerEvent {
  readonly id: string | undefined
  readonly event: string
  readonly data: unknown
}

export class Client {
  readonly node: string
  readonly #base: URL
  /** The node's own socket, where that is asked rather than a port. */
  readonly #socketPath: string | undefined
  readonly #config: ClientConfig

  constructor(config: ClientConfig) {
    this.node = config.node
    this.#config = config
    this.#socketPath = /^unix:(?:\/\/)?(.+)$/.exec(config.node)?.[1]
    this.#base = baseOf(this.#socketPath === undefined ? config.node : 'http://localhost')
  }

  get(path: string, ask: Ask = {}): Promise<unknown> {
    return this.json('GET', path, ask)
  }

  post(path: string, body: unknown, ask: Ask = {}): Promise<unknown> {
    return this.json('POST', path, { ...ask, body })
  }

  delete(path: string, ask: Ask = {}): Promise<unknown> {
    return this.json('DELETE', path, ask)
  }

  async json(method: string, path: string, ask: Ask = {}): Promise<unknown> {
    const response = await this.open(method, path, { timeoutMs: answerMs, ...ask })
    const text = await wholeText(response, this.node)
    if (text === '') return undefined
    try {
      return JSON.parse(text)
    } catch {
      throw notANode(this.node)
    }
  }

  /** The answer as it comes; its head is there, and says that all is well. */
  async open(method: string, path: string, ask: Ask = {}): Promise<IncomingMessage> {
    const query = new URLSearchParams()
    for (const [name, value] of Object.entries(ask.query ?? {})) {
      for (const one of Array.isArray(value) ? (value as readonly string[]) : [value]) {
        if (one !== undefined) query.append(name, String(one))
      }
    }
    // Not by URL, which folds `..`: a key may be called that.
    const target = `${this.#base.pathname.replace(/\/$/, '')}${path}${query.size === 0 ? '' : `?${query.toString()}`}`
    const body = ask.body === undefined || isStream(ask.body) ? undefined : Buffer.from(JSON.stringify(ask.body))
    const { token, agent } = this.#config
    const given: Record<string, string | undefined> = {
      accept: 'application/json',
      'content-type': body === undefined ? undefined : 'application/json',
      'content-length': body === undefined ? undefined : String(body.length),
      authorization: token === undefined ? undefined : `Bearer ${token}`,
      // Headers are ASCII, names of agents are not.
      'skein-agent': agent === undefined ? undefined : encodeURIComponent(agent),
      ...ask.headers,
    }
    const headers = Object.fromEntries(
      Object.entries(given).filter((one): one is [string, string] => one[1] !== undefined),
    )
    // Not imported: an import of node:http evaluates all that it exports, a WebSocket client of 14 MB and 30 ms among it.
    const { request: send } = process.getBuiltinModule(this.#base.protocol === 'https:' ? 'node:https' : 'node:http')
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request: ClientRequest = send(
        {
          ...urlToHttpOptions(this.#base),
          path: target,
          method,
          headers,
          agent: false,
          ...(this.#socketPath !== undefined && { socketPath: this.#socketPath }),
          ...(ask.signal !== undefined && { signal: ask.signal }),
        },
        resolve,
      )
      request.on('error', (error: NodeJS.ErrnoException) => reject(outOfReach(error, this.node, ask.signal)))
      if (ask.timeoutMs !== undefined) {
        request.setTimeout(ask.timeoutMs, () => {
          const hint = 'It may be busy, or the address is not a node. Try again, or look at its log.'
          request.destroy(
            new OutOfReach('timeout', `${this.node} did not answer within ${(ask.timeoutMs ?? 0) / 1000} s`, hint),
          )
        })
      }
      if (isStream(ask.body)) ask.body.pipe(request)
      else request.end(body)
    })
    const status = response.statusCode ?? 0
    if (status >= 200 && status < 300) return response
    throw problemOf(status, await wholeText(response, this.node), this.node)
  }

  /** Server-sent events, until the server ends them or the signal does. */
  async *events(path: string, ask: Ask = {}): AsyncGenerator<ServerEvent, void, void> {
    const response = await this.open('GET', path, {
      ...ask,
      headers: { ...ask.headers, accept: 'text/event-stream' },
    })
    let id: string | undefined
    let event = 'message'
    let data: string[] = []
    try {
      for await (const line of linesOf(response)) {
        if (line === '') {
          if (data.length > 0) yield { id, event, data: JSON.parse(data.join('\n')) as unknown }
          event = 'message'
          data = []
          continue
        }
        const [, field = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []
        if (field === 'data') data.push(value)
        else if (field === 'event') event = value
        else if (field === 'id') id = value
      }
    } catch (error) {
      if (ask.signal?.aborted === true) return
      throw error instanceof SyntaxError ? notANode(this.node) : outOfReach(error as Error, this.node, ask.signal)
    }
  }
}

/** `/v1/spaces/{space}/…` with the names as a path takes them. */
export function pathTo(...parts: readonly string[]): string {
  return `/v1/${parts.map((part) => encodeURIComponent(part)).join('/')}`
}

/** Where a program finds the node when nobody says: on this host. */
export const usualNode = 'http://127.0.0.1:7401'

function baseOf(node: string): URL {
  const written = /^\w+:\/\//.test(node) ? node : `http://${node}`
  const url = URL.canParse(written) ? new URL(written) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new UsageError(`${node} is no address of a node, such as ${usualNode}`)
  }
  return url
}

function isStream(body: unknown): body is NodeJS.ReadableStream {
  return typeof body === 'object' && body !== null && 'pipe' in body
}

export async function* linesOf(stream: AsyncIterable<Buffer | string>): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    rest += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true })
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) yield line.endsWith('\r') ? line.slice(0, -1) : line
  }
  if (rest !== '') yield rest
}

async function wholeText(response: IncomingMessage, node: string): Promise<string> {
  const pieces: Buffer[] = []
  let sizeBytes = 0
  try {
    for await (const piece of response as AsyncIterable<Buffer>) {
      sizeBytes += piece.length
      if (sizeBytes > answerBytes)
        throw new Refused('too_large', `${node} answered with more than ${answerBytes} bytes`, 'Ask for less.')
      pieces.push(piece)
    }
  } catch (error) {
    throw error instanceof Refused ? error : outOfReach(error as Error, node, undefined)
  }
  return Buffer.concat(pieces).toString('utf8')
}

function problemOf(status: number, text: string, node: string): Refused | OutOfReach {
  let problem: { code?: unknown; detail?: unknown; action?: unknown; details?: unknown } = {}
  try {
    problem = JSON.parse(text) as typeof problem
  } catch {
    // Told below.
  }
  if (typeof problem !== 'object' || problem === null || typeof problem.code !== 'string') return notANode(node, status)
  const { code, detail, action, details } = problem
  return new Refused(
    code,
    typeof detail === 'string' ? detail : code,
    typeof action === 'string' ? action : '',
    typeof details === 'object' && details !== null ? (details as Readonly<Record<string, unknown>>) : {},
  )
}

function notANode(node: string, status?: number): OutOfReach {
  const what = status === undefined ? 'not as a node does' : `${status}, and not as a node does`
  return new OutOfReach(
    'no_node',
    `${node} answered ${what}`,
    'Is the address that of a Skein node? --node or SKEIN_NODE says which.',
  )
}

function outOfReach(error: Error, node: string, signal: AbortSignal | undefined): Error {
  if (error instanceof OutOfReach || signal?.aborted === true) return error
  const { code = '' } = error as NodeJS.ErrnoException
  const why: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'nobody listens there',
    ENOENT: 'there is no such socket',
    EACCES: 'this user may not open that socket',
    ENOTFOUND: 'no host has that name',
    EAI_AGAIN: 'its name cannot be looked up now',
    ECONNRESET: 'it broke the connection off',
    EHOSTUNREACH: 'there is no way to that host',
    ENETUNREACH: 'there is no way to that network',
  }
  const hint = `Start one with \`${program} up\`, or say where it is with --node or SKEIN_NODE.`
  return new OutOfReach('unreachable', `the node at ${node} cannot be reached: ${why[code] ?? error.message}`, hint)
}
