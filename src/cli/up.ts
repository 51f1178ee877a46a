/**
 * The composition root of a daemon: the one place that picks a store, a transport and an HTTP server and puts a node
 * between them. In order: settings, directory, node, transport, HTTP, ready; and back again when it is told to stop. Nothing
 * that was acknowledged is lost by a stop: the doors close first, then what waits goes to the disk.
 */
import { writeFileSync } from 'node:fs'
import { SkeinError } from '../base/errors.ts'
import type { Config } from '../node/config.ts'
import { endpointText, isLoopback } from '../node/config-values.ts'
import type { EndpointAt, ListenAt } from '../node/config-values.ts'
import { createHttp } from '../node/http/http.ts'
import type { HttpServer } from '../node/http/http.ts'
import type { SkeinNode } from '../node/node.ts'
import type { NoticeBody } from '../node/workflow/driver.ts'
import type { CommandOptions, WebhookOptions, WorkflowOptions } from '../node/workflow/options.ts'
import { answersIn, gaugesOf, observerOf } from '../node/observer.ts'
import { rights } from '../node/security/caller.ts'
import { TokenStore } from '../node/security/tokens.ts'
import { openLog } from '../observe/log.ts'
import type { Log } from '../observe/log.ts'
import { openMetrics } from '../observe/metrics.ts'
import type { Metrics } from '../observe/metrics.ts'
import { openTracing } from '../observe/trace.ts'
import { openNode } from '../open.ts'
import { multiaddressText } from '../transport/multiaddress.ts'
import type { OpeningReport } from '../store/store.ts'
import { usualNode } from './client.ts'
import { OutOfReach, UsageError } from './command.ts'
import type { Answer, Call } from './command.ts'
import { lineOf } from './commands/config.ts'
import { program, quoted } from './program.ts'
import {
  directoryBytes,
  dropOwner,
  noteOwner,
  operatorTokenPath,
  ownerOf,
  socketPath,
  tokensPath,
} from '../node/data-dir.ts'
import { resolveSettings, textOf } from './settings.ts'
import { countText } from './screen.ts'

/** How long a stop may take before it is forced. A guess: a full batch on a slow disk, and streams that say goodbye. */
const stopWithinMs = 15_000

/** What runs: everything that a stop has to end, in the order in which it ends. */
interface Running {
  readonly node: SkeinNode
  readonly http: HttpServer | undefined
  readonly listen: readonly string[]
  /** Where peers are told to reach it: the same unless it was told otherwise. */
  readonly advertise: readonly string[]
  readonly log: Log
}

export async function up(call: Call): Promise<Answer | undefined> {
  const startedMs = performance.now()
  const { config, mistakes, warnings } = resolveSettings(call)
  if (mistakes.length > 0) {
    throw new UsageError(`${mistakes.map(lineOf).join('\n')}\n\`${program} config check\` shows all settings`)
  }
  // From here on a signal is heard, though it is obeyed only once there is something to stop.
  const { screen, stop: signal } = call
  const log = openLog({
    levels: config.log,
    pretty: process.stderr.isTTY,
    colour: process.stderr.isTTY && screen.hasColour,
    sink: process.stderr,
  })
  for (const warning of warnings) log.config.warn(lineOf(warning))
  const running = await start(config, call.has('set-aside') ? 'set-aside' : 'refuse', log)
  const readyMs = Math.round(performance.now() - startedMs)
  const { node, http, listen, advertise } = running
  log.node.info({ node: node.id, dir: config.dir, http: http?.url, listen, advertise, readyMs }, 'ready')
  if (call.json)
    screen.line(
      JSON.stringify({
        node: node.id,
        dir: config.dir,
        http: http?.url,
        socket: http?.socketPath,
        listen,
        advertise,
        readyMs,
      }),
    )
  else screen.line(readyText(running, config, readyMs))
  await untilStop(signal)
  await stop(running, config.dir)
  if (!call.json) screen.line('stopped: the disk has everything')
  return undefined
}

async function start(config: Config, onDamage: 'refuse' | 'set-aside', log: Log): Promise<Running> {
  const { dir, durability, keepMs, keepBytes, cacheBytes, listen, libp2pListen, advertise, zone, spaces } = config
  const metrics = openMetrics({ process: true })
  const tls = tlsOf(config)
  const node = await openNode({
    dir,
    onDamage,
    agent: 'operator',
    durability,
    log: { keepMs, keepBytes },
    cacheBytes,
    listen: [...(listen === undefined ? [] : [addressOf(listen, config, tls?.cert !== undefined)]), ...libp2pListen],
    transport: config.transport,
    libp2p: { relay: config.libp2pRelay === 'on', discover: config.libp2pDiscover === 'on' },
    advertise: advertise === undefined ? [] : [advertise],
    join: config.join.map((at) => (at.kind === 'dns' ? `dns:${endpointText(at)}` : at.address)),
    fleetKey: [config.fleetKey, ...config.oldFleetKeys].filter((key) => key !== undefined),
    ...(tls !== undefined && { tls }),
    zone,
    spaces,
    conflicts: workflowOf(config, log),
    observer: observerOf({ log, metrics, tracing: openTracing(dir) }),
    tell(event) {
      // What this node dialled in vain is told as such, once for each address.
      if (event.kind === 'refused' && event.direction === 'out') return
      const code = event.kind === 'refused' ? event.reason : event.code
      metrics.counter('peer_faults_total', { code })()
      log.transport.info({ remote: event.remote, code }, event.what)
    },
  }).catch((error: unknown) => {
    throw taken(inUse(error, dir), listen, '--listen')
  })
  try {
    for (const line of openingLines(node.status().opening)) log.store.warn(line)
    gaugesOf(metrics, node)
    metrics.gauge('store_bytes', async () => [[{}, await directoryBytes(dir)]])
    const http = await openHttp(config, node, metrics, log)
    noteOwner(dir, { pid: process.pid, since: new Date().toISOString(), ...(http !== undefined && { http: http.url }) })
    const { addresses, listening } = node.status()
    return { node, http, listen: listening, advertise: addresses, log }
  } catch (error) {
    await node.close()
    throw error
  }
}

/** Whom the settings name to be told, asked and called. */
function workflowOf(config: Config, log: Log): WorkflowOptions {
  const { conflictTargets, conflictResolvers, conflictActions, conflictSecret: secret } = config
  const called = (at: EndpointAt): WebhookOptions | CommandOptions => {
    if (at.kind === 'command') return { command: at.command }
    const url = at.kind === 'webhook' ? at.url : ''
    return { url, ...(secret !== undefined && { secret }), allowPrivate: config.conflictPrivate === 'on' }
  }
  const tell = (notice: NoticeBody): void => {
    const about = notice.event === 'conflict' ? notice.conflict : notice
    log.node.warn({ notice: about }, notice.event === 'conflict' ? notice.conflict.says : 'conflicts, told together')
  }
  const byName = (all: Config['conflictActions']): Record<string, WebhookOptions | CommandOptions> =>
    Object.fromEntries(all.map(({ name, at }) => [name, called(at)]))
  return {
    targets: conflictTargets.map((at) =>
      at.kind === 'log' ? { name: 'log', tell } : { name: shortName(at), ...called(at) },
    ),
    resolvers: byName(conflictResolvers),
    actions: byName(conflictActions),
  }
}

/** A URL may hold a secret, and what a target is called is on record everywhere. */
function shortName(at: EndpointAt): string {
  if (at.kind === 'webhook') return new URL(at.url).host
  return at.kind === 'command' ? (at.command[0] ?? '') : 'log'
}

function addressOf(listen: ListenAt, { transport }: Config, isSecure: boolean): string {
  if (transport === 'libp2p') return multiaddressText(listen.host, listen.port)
  return `${isSecure ? 'wss' : 'ws'}://${endpointText(listen)}`
}

function tlsOf({ tlsCert, tlsKey, tlsCa }: Config): { cert?: string; key?: string; ca?: string } | undefined {
  if (tlsCert === undefined && tlsCa === undefined) return undefined
  return {
    ...(tlsCert !== undefined && { cert: textOf(tlsCert) }),
    ...(tlsKey !== undefined && { key: textOf(tlsKey) }),
    ...(tlsCa !== undefined && { ca: textOf(tlsCa) }),
  }
}

async function openHttp(config: Config, node: SkeinNode, metrics: Metrics, log: Log): Promise<HttpServer | undefined> {
  const { http, dir, httpNames, httpOrigins, httpCert, httpKey } = config
  if (http === undefined) return undefined
  const socket = socketPath(dir)
  if (socket === undefined) log.http.warn('the path of the directory is too long for a socket in it: there is none')
  try {
    return await createHttp({
      node,
      host: http.host,
      port: http.port,
      ...(socket !== undefined && { socketPath: socket }),
      ...(httpCert !== undefined && httpKey !== undefined && { tls: { cert: textOf(httpCert), key: textOf(httpKey) } }),
      tokens: tokensFor(dir, http, log),
      names: httpNames,
      origins: httpOrigins,
      metrics: () => metrics.text(),
      answered: answersIn(metrics),
      logger: log.http,
    })
  } catch (error) {
    throw taken(error, http, '--http')
  }
}

/**
 * Whoever serves other hosts needs a token, and so does whoever is to make the first one: the operator's is made here, and
 * stands in a file that only this user can read.
 */
function tokensFor(dir: string, { host }: ListenAt, log: Log): TokenStore {
  const tokens = new TokenStore(tokensPath(dir))
  if (isLoopback(host) || tokens.everMade) return tokens
  const { token } = tokens.create({ agent: 'operator', grants: [{ rights }] })
  const file = operatorTokenPath(dir)
  writeFileSync(file, `${token}\n`, { mode: 0o600 })
  log.http.warn(`${host} is open to other hosts: requests need a token from now on; the operator's is in ${file}`)
  return tokens
}

/** Doors first, so that nobody is promised anything any more; then the disk. */
async function stop({ node, http, log }: Running, dir: string): Promise<void> {
  log.node.info('stopping')
  const late = setTimeout(() => {
    log.node.fatal(`not stopped within ${stopWithinMs / 1000} s: ending by force, as a crash would`)
    process.exit(1)
  }, stopWithinMs)
  await http?.close()
  await node.close()
  dropOwner(dir)
  clearTimeout(late)
  log.node.info('stopped')
}

function untilStop(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    // Nothing else may keep the process alive: a node without HTTP has no socket.
    const alive = setInterval(() => undefined, 60_000)
    signal.addEventListener('abort', () => {
      clearInterval(alive)
      resolve()
    })
  })
}

function inUse(error: unknown, dir: string): unknown {
  if (!(error instanceof SkeinError) || error.code !== 'store_locked') return error
  const owner = ownerOf(dir)
  if (owner === undefined) return error
  const { pid, since, http } = owner
  const where = http === undefined ? '' : `, and answers at ${http}`
  return new OutOfReach(
    'store_locked',
    `${dir} is open in process ${pid} since ${since}${where}`,
    `Use that node, stop it (kill ${pid}), or start another with --dir, --listen and --http of its own.`,
  )
}

/** An address that cannot be listened on, with what to do about it. */
function taken(error: unknown, at: ListenAt | undefined, flag: string): unknown {
  if (!(error instanceof SkeinError) || at === undefined) return error
  const address = endpointText(at)
  const { code: cause = '' } = (error.cause ?? {}) as NodeJS.ErrnoException
  if (error.code === 'address_in_use' || cause === 'EADDRINUSE') {
    const hint = `Is a node up already? If not, take another port: ${flag} 127.0.0.1:0 finds one.`
    return new OutOfReach(error.code, `${address} is in use by another program`, hint)
  }
  if (error.code !== 'listen_failed' && error.code !== 'address_unavailable') return error
  const hint =
    cause === 'EACCES'
      ? `Ports below 1024 are for the administrator: take another with ${flag}.`
      : `Give ${flag} an address of this host, or 127.0.0.1.`
  return new OutOfReach(error.code, `this node cannot listen on ${address}: ${cause || error.message}`, hint)
}

function readyText({ node, http, listen, advertise }: Running, { dir }: Config, readyMs: number): string {
  const { spaces } = node.status()
  const entries = spaces.reduce((sum, space) => sum + space.entries, 0)
  return [
    `node ${node.id} is ready after ${readyMs} ms`,
    `  data   ${dir}: ${countText(spaces.length, 'space')}, ${countText(entries, 'entry', 'entries')}`,
    `  http   ${http === undefined ? 'none' : http.url}`,
    `  peers  ${advertise.length === 0 ? 'nobody can dial this node' : advertise.join(', ')}`,
    ...(advertise.join() === listen.join() ? [] : [`         listening at ${listen.join(', ')}`]),
    ...(http === undefined
      ? []
      : [
          '',
          'In another terminal:',
          ...['set tasks t-1 status=doing owner=agent-7', 'ls tasks', 'status'].map(
            (words) => `  ${program} ${words}${nodeFlag(http)}`,
          ),
        ]),
    '',
    'Ctrl-C stops.',
  ].join('\n')
}

/** What a command needs to find this node. Where tokens are asked for, the socket in the directory asks for none. */
function nodeFlag({ url, socketPath: socket, isOpen }: HttpServer): string {
  if (!isOpen && socket !== undefined) return ` --node ${quoted(`unix:${socket}`)}`
  return url === usualNode ? '' : ` --node ${url}`
}

export function openingLines({ found, setAside, lostUnsynced, warnings }: OpeningReport): string[] {
  const lines = [...warnings]
  if (found === 'unclean') lines.unshift('the last run did not end in order; everything was verified')
  if (lostUnsynced !== undefined) {
    const { from, to } = lostUnsynced
    lines.push(`batches ${from} to ${to} had reached the system but not the disk, and are gone`)
  }
  if (setAside !== undefined) lines.push(`the damaged directory is now ${setAside.path}: ${setAside.reason}`)
  return lines
}
