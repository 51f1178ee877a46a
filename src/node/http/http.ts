/**
 * The local HTTP API of a node: the route table behind a gate, on a loopback port and, with full rights by the permissions
 * of its file, on a socket in the data directory. It decides nothing about data: that is the service's.
 */
import type { IncomingMessage, RequestListener, Server, ServerOptions } from 'node:http'
import { chmod, rm } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import type { AddressInfo, ListenOptions, Socket } from 'node:net'
import { LogController, fastify } from 'fastify'
import type {
  FastifyBaseLogger,
  FastifyError,
  FastifyInstance,
  FastifyReply,
  FastifySchemaValidationError,
} from 'fastify'
import { SkeinError } from '../../base/errors.ts'
import type { ErrorCode } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { SkeinNode } from '../node.ts'
import type { TokenStore } from '../security/tokens.ts'
import type { Caller } from '../security/caller.ts'
import { compilersFactory } from './compile-lately.ts'
import { EventStreams } from './events.ts'
import { Gate, isLoopback } from './gate.ts'
import { Idempotency } from './idempotency.ts'
import { openApi } from './open-api.ts'
import { problemOf } from './problem.ts'
import { taken } from './route.ts'
import type { Route } from './route.ts'
import { routes } from './routes/table.ts'
import type { Schema } from './schemas.ts'
import { Service } from './service.ts'
import { Sessions } from './sessions.ts'
import { Streams, refuse } from './stream.ts'

export interface HttpOptions {
  readonly node: SkeinNode
  /** The address to listen on. Beyond loopback it takes tokens. */
  readonly host?: string
  /** 0 for any that is free; false for none, where a socket is enough. */
  readonly port?: number | false
  /** Certificate chain and private key, as PEM: the port speaks HTTPS. */
  readonly tls?: { readonly cert: string; readonly key: string }
  /** A socket in the data directory, for whoever may open the file: full rights. */
  readonly socketPath?: string
  /** False: the process may end while it listens. */
  readonly holdsProcess?: boolean
  /** Without it there are no tokens, and whoever is on this host may do everything. */
  readonly tokens?: TokenStore
  /** Names that this host is called by, beside those of loopback and `host`. */
  readonly names?: readonly string[]
  /** Origins of web pages that may ask, as `https://ops.example`. */
  readonly origins?: readonly string[]
  /** What `/metrics` answers. */
  readonly metrics?: () => string | Promise<string>
  /** Hears of every answer. */
  readonly answered?: (answer: Answered) => void
  /** A pino logger, or one like it. Without it nothing is logged. */
  readonly logger?: FastifyBaseLogger
  /** Of one agent token. */
  readonly requestsPerSecond?: number
  readonly heartbeatMs?: number
  /** How long a reader of events may take nothing before it is cut off. */
  readonly stalledMs?: number
  /** How long requests may take to finish when the server closes. */
  readonly graceMs?: number
}

/** A request and what became of it, for metrics. */
export interface Answered {
  readonly method: string
  /** The path of its route, with names of parameters in place of what stood there; `none` where no route took it. */
  readonly route: string
  readonly status: number
  /** Undefined for streams, which last as long as their readers like. */
  readonly seconds: number | undefined
}

export interface HttpServer extends AsyncDisposable {
  /** As `http://127.0.0.1:7401`, or `https:`; without a port `unix:` and the path of the socket. */
  readonly url: string
  /** 0 where there is none. */
  readonly port: number
  readonly socketPath: string | undefined
  /** Nobody needs a token: everybody on this host has all rights. Worth telling at start. */
  readonly isOpen: boolean
  /** Takes no more requests, ends streams with a last event, finishes what is under way within its time. The node stays open. */
  close(): Promise<void>
}

/** DESIGN: the port of `skein up`. */
const defaultPort = 7401
/** Proxies keep connections for 60 s; whoever closes first should be the client. */
const keepAliveMs = 72_000
/** Of a request until its last byte: slow senders must not hold a connection. Node's default is 5 minutes. */
const requestMs = 30_000
const headersMs = 10_000
const heartbeatMs = 15_000
const stalledMs = 60_000
const defaultGraceMs = 5_000
const sweepMs = 20
/** A key of `limits.keyBytes`, each byte percent-encoded. */
const parameterLength = 3 * limits.keyBytes

export async function createHttp(options: HttpOptions): Promise<HttpServer> {
  const { node, host = '127.0.0.1', port = defaultPort, socketPath, tokens, metrics } = options
  if (!isLoopback(host) && host !== 'localhost' && tokens?.everMade !== true) {
    throw new SkeinError('invalid_argument', `make an agent token before listening beyond this host, on ${host}`, {
      argument: 'host',
    })
  }
  if (port === false && socketPath === undefined) {
    throw new SkeinError('invalid_argument', 'a server without a port needs a socket', { argument: 'socketPath' })
  }
  const gate = new Gate({
    names: [host, ...(options.names ?? [])],
    origins: options.origins ?? [],
    tokens,
    requestsPerSecond: options.requestsPerSecond ?? limits.httpRequestsPerSecond,
    now: () => performance.now(),
  })
  const service = new Service(node, await Idempotency.open(node), async () => (await metrics?.()) ?? '')
  const timing = {
    heartbeatMs: options.heartbeatMs ?? heartbeatMs,
    stalledMs: options.stalledMs ?? stalledMs,
  }
  const graceMs = options.graceMs ?? defaultGraceMs
  const events = new EventStreams(timing)
  const report = (error: unknown): void => options.logger?.error(error)
  const streams = new Streams(service, await Sessions.open(node), events, timing, report)
  const { app, servers } = buildApp(service, gate, events, streams, options)
  await app.ready()
  const [main, admin] = servers()
  try {
    if (port !== false) await listen(main, { host, port })
    if (socketPath !== undefined) {
      await rm(socketPath, { force: true })
      await listen(admin, { path: socketPath })
      await chmod(socketPath, 0o600)
    }
  } catch (error) {
    main.close()
    await app.close()
    const where = port === false ? String(socketPath) : `${host}:${port}`
    throw new SkeinError('listen_failed', `cannot listen on ${where}`, { host, port }, error)
  }
  if (options.holdsProcess === false) {
    for (const server of [main, admin]) {
      server.on('connection', (socket) => socket.unref())
      server.unref()
    }
  }

  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    const ended = Promise.all([main, admin].map((server) => stopped(server)))
    await Promise.all([events.close(), streams.close(graceMs)])
    // A connection whose last request is answered would idle on until its client goes.
    const sweep = setInterval(() => {
      main.closeIdleConnections()
      admin.closeIdleConnections()
    }, sweepMs)
    const late = setTimeout(() => {
      main.closeAllConnections()
      admin.closeAllConnections()
    }, graceMs)
    await ended
    clearTimeout(late)
    clearInterval(sweep)
    await app.close()
    if (socketPath !== undefined) await rm(socketPath, { force: true })
  }
  return {
    ...placeOf(main.address() as AddressInfo | null, socketPath, options.tls === undefined ? 'http' : 'https'),
    socketPath,
    isOpen: tokens?.everMade !== true,
    close: () => (closing ??= close()),
    [Symbol.asyncDispose]: () => (closing ??= close()),
  }
}

function placeOf(
  bound: AddressInfo | null,
  socketPath: string | undefined,
  scheme: 'http' | 'https',
): { readonly url: string; readonly port: number } {
  if (bound === null) return { url: `unix:${socketPath}`, port: 0 }
  const name = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address
  return { url: `${scheme}://${name}:${bound.port}`, port: bound.port }
}

function secured(settings: ServerOptions, tls: NonNullable<HttpOptions['tls']>, handler: RequestListener): Server {
  try {
    const { createServer } = process.getBuiltinModule('node:https')
    // One is the other over TLS, in all that is asked of it here.
    return createServer({ ...settings, ...tls, minVersion: 'TLSv1.2' }, handler) as unknown as Server
  } catch (error) {
    throw new SkeinError('invalid_argument', 'the certificate or the key of HTTP cannot be used', {}, error)
  }
}

function stopped(server: Server): Promise<void> {
  return new Promise((resolve) => {
    if (server.listening) server.close(() => resolve())
    else resolve()
  })
}

function listen(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(options, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function buildApp(
  service: Service,
  gate: Gate,
  events: EventStreams,
  streams: Streams,
  { logger, answered, tls }: HttpOptions,
): { readonly app: FastifyInstance; readonly servers: () => readonly [Server, Server] } {
  const made: Server[] = []
  const atSocket = new WeakSet<Socket>()
  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    try {
      const isAdminSocket = atSocket.has(request.socket)
      if (!isAdminSocket) gate.checkSource(request.headers)
      if (request.url?.split('?')[0] !== '/v1/stream') {
        throw new SkeinError('not_found', 'only /v1/stream can be upgraded')
      }
      streams.upgrade(request, socket, head, (requests) => gate.callerOf(request, isAdminSocket, requests))
    } catch (error) {
      refuse(socket, error)
    }
  }
  const app = fastify({
    ...(logger !== undefined && { loggerInstance: logger }),
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    bodyLimit: limits.httpBodyBytes,
    return503OnClosing: false,
    // Values may have fields of any name; the one that JavaScript cannot hold is refused with its own code.
    onProtoPoisoning: 'ignore',
    onConstructorPoisoning: 'ignore',
    routerOptions: { maxParamLength: parameterLength },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false, allErrors: false } },
    schemaController: { compilersFactory },
    schemaErrorFormatter: (errors, part) => new SkeinError('invalid_argument', `${part}${invalidity(errors[0])}`),
    clientErrorHandler: unreadable,
    frameworkErrors(error, _request, reply) {
      void send(reply, problemFor(error))
    },
    serverFactory(handler, serverOptions) {
      const settings: ServerOptions = {
        ...(serverOptions as ServerOptions),
        maxHeaderSize: limits.httpHeaderBytes,
        keepAliveTimeout: keepAliveMs,
        headersTimeout: headersMs,
        requestTimeout: requestMs,
      }
      // Not imported: an import of node:http evaluates all that it exports, a WebSocket client of 14 MB and 30 ms among it.
      const { createServer } = process.getBuiltinModule('node:http')
      const main = tls === undefined ? createServer(settings, handler) : secured(settings, tls, handler)
      const admin = createServer(settings, handler)
      main.maxConnections = limits.httpConnections
      admin.maxConnections = limits.httpConnections
      admin.on('connection', (socket) => atSocket.add(socket))
      admin.on('clientError', unreadable)
      for (const server of [main, admin]) server.on('upgrade', upgrade)
      made.push(main, admin)
      return main
    },
  })
  app.removeContentTypeParser('text/plain')
  const callers = new WeakMap<IncomingMessage, Caller>()
  const recheck = (raw: IncomingMessage): void => {
    gate.callerOf(raw, atSocket.has(raw.socket), 0)
  }
  app.addHook('onRequest', (request, reply, done) => {
    const { raw } = request
    const isAdminSocket = atSocket.has(raw.socket)
    if (!isAdminSocket) {
      const origin = gate.checkSource(raw.headers)
      if (origin !== undefined) {
        allow(reply, origin)
        if (raw.method === 'OPTIONS') {
          void preflight(reply)
          return
        }
      }
    }
    const route = request.routeOptions.config as { readonly open?: boolean }
    if (route.open !== true) callers.set(raw, gate.callerOf(raw, isAdminSocket))
    done()
  })
  if (answered !== undefined) {
    app.addHook('onResponse', (request, reply, done) => {
      const isStream = String(reply.raw.getHeader('content-type')).startsWith('text/event-stream')
      answered({
        method: request.method,
        route: request.routeOptions.url ?? 'none',
        status: reply.raw.statusCode,
        seconds: isStream ? undefined : reply.elapsedTime / 1000,
      })
      done()
    })
  }
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const told = problemFor(error)
    if (told.code === 'internal') request.log.error(error)
    return send(reply, told)
  })
  app.setNotFoundHandler((request, reply) =>
    send(reply, problemOf(new SkeinError('not_found', `there is no ${request.method} ${request.url.split('?')[0]}`))),
  )
  for (const route of routes) addRoute(app, route, service, events, callers, recheck)
  app.get('/v1/stream', () => {
    throw new SkeinError('invalid_argument', 'this is a WebSocket: ask for an upgrade')
  })
  const document = openApi(routes, '1')
  app.get('/v1/openapi.json', () => document)
  return { app, servers: () => [made[0] as Server, made[1] as Server] }
}

function invalidity(error: FastifySchemaValidationError | undefined): string {
  if (error === undefined) return ' is invalid'
  const { additionalProperty } = error.params
  const which = typeof additionalProperty === 'string' ? `: ${additionalProperty}` : ''
  return `${error.instancePath} ${error.message ?? 'is invalid'}${which}`
}

function addRoute(
  app: FastifyInstance,
  route: Route,
  service: Service,
  events: EventStreams,
  callers: WeakMap<IncomingMessage, Caller>,
  recheck: (raw: IncomingMessage) => void,
): void {
  const response: Record<string, unknown> = {}
  for (const [status, { schema }] of Object.entries(route.answers)) if (schema !== undefined) response[status] = schema
  app.route({
    method: route.method,
    url: route.path.replaceAll(/\{(\w+)\}/g, ':$1'),
    config: { open: route.open === true },
    schema: {
      response,
      querystring: {
        type: 'object',
        properties: route.query ?? {},
        required: route.required ?? [],
        additionalProperties: false,
      },
      ...(route.body !== undefined && { body: bodyOf(route.body, route.bodyOptional) }),
    },
    async handler(request, reply) {
      const { raw } = request
      const outcome = await route.handle({
        service,
        events,
        reply,
        recheck: () => recheck(raw),
        caller: callers.get(raw) ?? nobody,
        params: request.params as Record<string, string>,
        query: request.query as Record<string, string>,
        headers: raw.headers,
        body: request.body,
      })
      if (outcome === taken) return reply
      const { status = 200, headers, body } = outcome
      if (headers !== undefined) reply.headers(headers)
      reply.code(status)
      return body
    },
  })
}

/** To the server a body that is not there is `null`. */
function bodyOf(body: Schema, isOptional: true | undefined): Schema {
  return isOptional === true ? { ...body, type: ['object', 'null'] } : body
}

/** Whoever asks an open route: it may look at nothing. */
const nobody: Caller = { id: 'nobody', agent: undefined, grants: [] }

function allow(reply: FastifyReply, origin: string): void {
  reply.header('access-control-allow-origin', origin)
  reply.header('vary', 'origin')
  reply.header('access-control-expose-headers', 'etag, retry-after')
}

/** A browser asks first whether a page may ask; the request itself is judged when it comes. */
function preflight(reply: FastifyReply): FastifyReply {
  const names = new Set(routes.flatMap(({ headers }) => Object.keys(headers ?? {})))
  return reply
    .code(204)
    .header('access-control-allow-methods', 'GET, PUT, POST, DELETE')
    .header('access-control-allow-headers', ['Authorization', 'Content-Type', ...names].join(', '))
    .header('access-control-max-age', '600')
    .send()
}

/** What fastify itself refuses, by its own codes, in ours. */
const frameworkCodes: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media',
  FST_ERR_CTP_BODY_TOO_LARGE: 'too_large',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'invalid_argument',
  FST_ERR_CTP_INVALID_JSON_BODY: 'invalid_argument',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'invalid_argument',
  FST_ERR_BAD_URL: 'invalid_argument',
  FST_ERR_MAX_PARAM_LENGTH: 'invalid_key',
  FST_ERR_MAX_PARAM_LENGTH_EXCEEDED: 'invalid_key',
}

/** What is no HTTP that Node can read, or too much of it. */
function unreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy(error)
    return
  }
  const isLong = error.code === 'HPE_HEADER_OVERFLOW'
  const late = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
  const what = isLong ? `headers are over ${limits.httpHeaderBytes} bytes` : 'that is not HTTP'
  refuse(socket, new SkeinError(isLong ? 'too_large' : 'invalid_argument', late ? 'the request came too slowly' : what))
}

function problemFor(error: unknown): ReturnType<typeof problemOf> {
  if (error instanceof SkeinError) return problemOf(error)
  const { code = '', message, statusCode } = error as Partial<FastifyError>
  const known =
    frameworkCodes[code] ?? (error instanceof SyntaxError || statusCode === 400 ? 'invalid_argument' : undefined)
  return problemOf(known === undefined ? error : new SkeinError(known, message ?? known))
}

function send(reply: FastifyReply, told: ReturnType<typeof problemOf>): FastifyReply {
  const retryMs = told.details?.['retryAfterMs']
  if (typeof retryMs === 'number') reply.header('retry-after', String(Math.max(1, Math.ceil(retryMs / 1000))))
  if (told.status === 401) reply.header('www-authenticate', 'Bearer')
  return reply
    .code(told.status)
    .header('content-type', 'application/problem+json; charset=utf-8')
    .serializer((body: unknown) => JSON.stringify(body))
    .send(told)
}
