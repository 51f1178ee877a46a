/** What a node tells whoever watches over it, as lines of the log and figures: the one place where events get their words. */
import type { SessionReport, SyncEvent } from '../anti-entropy/output.ts'
import { limits } from '../base/limits.ts'
import { timeToMs } from '../crdt/clock.ts'
import { severities } from '../merge/rule.ts'
import type { Log } from '../observe/log.ts'
import type { Metrics } from '../observe/metrics.ts'
import type { Traced, Tracing } from '../observe/trace.ts'
import type { Space } from '../replica/space.ts'
import type { Commit } from './commits.ts'
import type { Answered } from './http/http.ts'
import type { MachineEvent } from './machine.ts'
import type { Observer, SkeinNode } from './node.ts'

export interface ObserverParts {
  readonly log: Log
  readonly metrics: Metrics
  readonly tracing: Tracing | undefined
}

/** Addresses that could not be dialled and are told of once. A guess: of a fleet that is mostly away, some will do. */
const toldAddresses = 256

export function observerOf({ log, metrics, tracing }: ObserverParts): Observer {
  const [written, sent, received, repeated, voided] = (
    ['written', 'sent', 'received', 'repeated', 'void'] as const
  ).map((direction) => metrics.counter('deltas_total', { direction })) as [Count, Count, Count, Count, Count]
  const [writtenBytes, sentBytes, receivedBytes, repeatedBytes] = (
    ['written', 'sent', 'received', 'repeated'] as const
  ).map((direction) => metrics.counter('delta_bytes_total', { direction })) as [Count, Count, Count, Count]
  const unreached = new Set<string>()
  metrics.counter('dial_failures_total', { code: 'peer_unreachable' })
  // What must stay at 0 is told as 0: an alarm needs a value to rise from.
  for (const what of ['void', 'integrity', 'fork', 'stuck']) metrics.counter('integrity_events_total', { what })
  const droppedPeer = metrics.counter('dropped_total', { what: 'peer' })
  const droppedWatcher = metrics.counter('dropped_total', { what: 'watcher' })
  metrics.counter('dropped_total', { what: 'deltas' })
  metrics.counter('conflicts_total', { rule: 'field', outcome: 'opened' })
  metrics.counter('conflicts_settled_total', { rule: 'field', by: 'policy' })
  metrics.counter('conflict_repeats_total', { rule: 'field' })
  for (const kind of ['notify', 'ask', 'run']) metrics.counter('conflict_errands_total', { kind, outcome: 'done' })
  metrics.counter('peer_faults_total', { code: 'malformed' })
  const stepped = metrics.histogram('merge_seconds', {})
  const probed = metrics.histogram('probe_seconds', {})
  const commits = {
    memory: metrics.histogram('store_commit_seconds', { durability: 'memory' }),
    os: metrics.histogram('store_commit_seconds', { durability: 'os' }),
    disk: metrics.histogram('store_commit_seconds', { durability: 'disk' }),
  }
  let worstLagMs = 0
  metrics.gauge('loop_lag_seconds', () => {
    const seconds = worstLagMs / 1000
    worstLagMs = 0
    return [[{}, seconds]]
  })
  const uncommitted = tracing === undefined ? undefined : new Uncommitted(tracing)
  /** One series an origin, bound once. */
  const lags = new Map<string, (seconds: number) => void>()
  const lagOf = (origin: string): ((seconds: number) => void) => {
    let lag = lags.get(origin)
    if (lag === undefined) {
      lag = metrics.histogram('convergence_lag_seconds', { origin })
      lags.set(origin, lag)
    }
    return lag
  }
  return {
    applied({ space, delta, body, nowMs, own, fault }, batch) {
      if (fault !== undefined) voided()
      const count = own ? written : received
      count()
      const bytes = own ? writtenBytes : receivedBytes
      bytes(body.length)
      const writtenMs = timeToMs(delta.time)
      if (!own) lagOf(delta.origin)((nowMs - writtenMs) / 1000)
      const dot = { space: space.name, origin: delta.origin, seq: delta.seq }
      if (own) tracing?.span('write', dot, nowMs, nowMs)
      else tracing?.span('apply', dot, writtenMs, Math.max(writtenMs, nowMs))
      uncommitted?.add(batch, dot)
    },
    committed(commit) {
      commits[commit.durability](commit.tookMs / 1000)
      uncommitted?.committed(commit)
    },
    sent(to, space, { origin, seq, bodies }) {
      sent(bodies.length)
      for (const [at, body] of bodies.entries()) {
        sentBytes(body.length)
        if (tracing === undefined) continue
        const nowMs = Date.now()
        tracing.span('send', { space: space.name, origin, seq: seq + at }, nowMs, nowMs, { 'skein.peer': to })
      }
    },
    repeated(sizeBytes) {
      repeated()
      repeatedBytes(sizeBytes)
    },
    stepped,
    late(lagMs) {
      worstLagMs = Math.max(worstLagMs, lagMs)
    },
    probed: (_node, tookMs) => probed(tookMs / 1000),
    fellBehind(node) {
      droppedPeer()
      log.gossip.info({ peer: node }, 'a peer was too slow: it catches up later')
    },
    watcherFellBehind: () => droppedWatcher(),
    event: (event) => told(event, log, metrics),
    errand({ kind, name, outcome, count, seconds, why }) {
      metrics.counter('conflict_errands_total', { kind, outcome })(count)
      const about = { kind, name, count, seconds, ...(why !== undefined && { why }) }
      if (why === undefined) log.node.info(about, `conflict errand ${outcome}`)
      else log.node.warn(about, `conflict errand ${outcome}`)
    },
    fault({ node, code, what }) {
      metrics.counter('peer_faults_total', { code })()
      log.transport.warn({ peer: node, code }, `a peer broke the protocol: ${what}`)
    },
    linkFailed(address, error) {
      const { code, message } = error
      if (address === '') return log.transport.debug({ code }, message)
      metrics.counter('dial_failures_total', { code })()
      // A node dials again and again: once is enough to see that an address is wrong, or that nobody is there yet.
      const isNews = !unreached.has(address) && unreached.size < toldAddresses
      if (isNews) unreached.add(address)
      if (isNews) log.transport.warn({ address, code }, `${message}; it is tried again from time to time`)
      else log.transport.debug({ address, code }, message)
    },
    broken(error) {
      log.node.fatal({ err: error }, 'the node cannot go on: nothing more is written or said')
    },
  }
}

type Count = (by?: number) => void

/** Which deltas a batch took along: known only for traces, and for no more of them than a batch may hold. */
class Uncommitted {
  readonly #tracing: Tracing
  #waiting: { readonly batch: number; readonly dot: Traced }[] = []

  constructor(tracing: Tracing) {
    this.#tracing = tracing
  }

  add(batch: number, dot: Traced): void {
    if (this.#waiting.length < limits.tracedDeltas) this.#waiting.push({ batch, dot })
  }

  committed({ batch, durability, fromMs, tookMs }: Commit): void {
    const from = this.#waiting.findIndex((one) => one.batch > batch)
    for (const { dot } of this.#waiting.splice(0, from < 0 ? this.#waiting.length : from)) {
      this.#tracing.span('commit', dot, fromMs, fromMs + tookMs, { 'skein.durability': durability })
    }
  }
}

function told(event: MachineEvent, log: Log, metrics: Metrics): void {
  const dropped = (what: string, count: number): void => metrics.counter('dropped_total', { what })(count)
  const integrity = (what: string): void => metrics.counter('integrity_events_total', { what })()
  switch (event.kind) {
    case 'peer':
      return log.transport.info({ peer: event.node }, `link ${event.state}`)
    case 'member': {
      const { node, state, address } = event.member
      return log.gossip.info({ peer: node, address }, `member ${state}`)
    }
    case 'void':
      integrity('void')
      return log.node.warn({ space: event.space, ...event.dot }, `a delta was applied without effect: ${event.why}`)
    case 'sync':
      integrity(event.event.kind)
      return foundWrong(event.event, log)
    case 'session':
      return sessionOver(event.report, log, metrics)
    case 'dropped':
      dropped('deltas', event.dots.length)
      return log.sync.warn({ space: event.space, count: event.dots.length }, 'deltas waited for what nobody has')
    case 'pruned': {
      const behind = event.blockers.map(({ node }) => node)
      return log.node.warn(
        { count: event.aboveCut, behind },
        'logs were over their size and went, though members lack them',
      )
    }
    case 'conflict': {
      const { space, id, rule, severity, change, by, repeats = 0 } = event.event
      metrics.counter('conflicts_total', { rule, outcome: change })()
      if (by !== undefined) metrics.counter('conflicts_settled_total', { rule, by })()
      if (repeats > 0) metrics.counter('conflict_repeats_total', { rule })()
      return log.node.info({ space, id, rule, severity }, `conflict ${change}`)
    }
    case 'failed':
      return log.node.error({ code: event.code }, event.reason)
    case 'refused':
      return log.transport.warn({ code: event.code }, `a peer refused this node: ${event.reason}`)
    case 'presence':
    case 'word':
    case 'workflow':
      return undefined
  }
}

function foundWrong(found: SyncEvent, log: Log): void {
  const about = { space: found.space.name, peer: found.peer }
  switch (found.kind) {
    case 'integrity':
      return log.sync.error({ ...about, keys: found.keys }, found.what)
    case 'fork': {
      const said = found.settled ? 'a fork is settled' : 'two histories under one name'
      return log.sync.error({ ...about, origin: found.origin, seq: found.seq }, said)
    }
    case 'stuck':
      return log.sync.error(about, 'equal vectors with contexts that differ, and nothing explains it')
  }
}

function sessionOver(report: SessionReport, log: Log, metrics: Metrics): void {
  const { space, peer, step, outcome, deltasIn, deltasOut, cellsIn, cellsOut, bytesIn, bytesOut, tookMs } = report
  metrics.counter('sync_sessions_total', { step, outcome })()
  metrics.counter('sync_bytes_total', { direction: 'in' })(bytesIn)
  metrics.counter('sync_bytes_total', { direction: 'out' })(bytesOut)
  metrics.counter('sync_cells_total', { direction: 'in' })(cellsIn)
  metrics.counter('sync_cells_total', { direction: 'out' })(cellsOut)
  const counts = { deltasIn, deltasOut, cellsIn, cellsOut, tookMs }
  log.sync.debug({ space: space.name, peer, step, ...counts }, `session ${outcome}`)
}

/** Counts the answers of HTTP. */
export function answersIn(metrics: Metrics): (answer: Answered) => void {
  const counts = new Map<string, Count>()
  const durations = new Map<string, (seconds: number) => void>()
  return ({ method, route, status, seconds }) => {
    const name = `${method} ${status} ${route}`
    let count = counts.get(name)
    if (count === undefined) {
      count = metrics.counter('http_requests_total', { method, route, status: String(status) })
      counts.set(name, count)
    }
    count()
    if (seconds === undefined) return
    let duration = durations.get(route)
    if (duration === undefined) durations.set(route, (duration = metrics.histogram('http_request_seconds', { route })))
    duration(seconds)
  }
}

/** Gauges are read when somebody asks for the metrics; until then they cost nothing. */
export function gaugesOf(metrics: Metrics, node: SkeinNode): void {
  const total = (of: (space: Space) => number) => () =>
    [[{}, node.replica.spaces.reduce((sum, space) => sum + of(space), 0)]] as const
  metrics.gauge(
    'cells',
    total(({ tree }) => tree.root[4] ?? 0),
  )
  metrics.gauge(
    'entries',
    total(({ entryCount }) => entryCount),
  )
  metrics.gauge(
    'log_bytes',
    total(({ logBytes }) => logBytes),
  )
  metrics.gauge('store_waiting_bytes', () => [[{}, node.replica.waitingBytes]])
  metrics.gauge('store_refusing', () => [[{}, node.status().state === 'open' ? 0 : 1]])
  metrics.gauge('links', () => [[{}, [...node.machine.peers].length]])
  metrics.gauge('clock_skew_seconds', () =>
    [...node.machine.peers].map((peer) => [{ peer: peer.node }, peer.skewMs / 1000] as const),
  )
  metrics.gauge('conflicts_open', () => [
    [{ rule: 'field' }, 0],
    ...[...node.conflicts.tally.byRule()].map(([rule, count]) => [{ rule }, count] as const),
  ])
  metrics.gauge('conflict_age_seconds', () => {
    const oldest = node.conflicts.tally.oldest()
    return severities.map((severity) => {
      const sinceMs = oldest.get(severity)
      return [{ severity }, sinceMs === undefined ? 0 : (node.now() - sinceMs) / 1000] as const
    })
  })
  metrics.gauge('watchers', () => [[{}, node.watchers]])
  metrics.gauge('members', () => {
    const states = Map.groupBy(node.machine.membership.members(), ({ state }) => state)
    return [...states].map(([state, members]) => [{ state }, members.length] as const)
  })
  metrics.gauge('vector_divergence', () => [[{}, node.fleet.health().gaps]])
  metrics.gauge(
    'waiting_room',
    total(({ waiting }) => waiting.size),
  )
}
