/**
 * Traces: what became of one write, over all nodes. The spans of a delta (written, committed, sent, applied elsewhere) share a
 * trace although nothing about it travels: its trace id is a hash of its dot, which every node knows. A write within
 * somebody's own trace links to it.
 *
 * Only the interface of OpenTelemetry is used. Whoever wants traces loads an SDK into the process, by
 * `NODE_OPTIONS=--import=...`; without one `openTracing` answers undefined and nothing is spent.
 */
import { INVALID_TRACEID, ROOT_CONTEXT, SpanKind, TraceFlags, context, trace } from '@opentelemetry/api'
import { hash128, lanes } from '../base/hash.ts'

/** The dot of a delta, in the words of a trace. */
export interface Traced {
  readonly space: string
  readonly origin: string
  readonly seq: number
}

/** What happens to a delta: `write` here, `commit` to this disk, `send` to a peer, `apply` of somebody else's. */
export type Step = 'write' | 'commit' | 'send' | 'apply'

export interface Tracing {
  /** A step that is over. Times are milliseconds of the wall. */
  span(
    step: Step,
    delta: Traced,
    fromMs: number,
    toMs: number,
    attributes?: Readonly<Record<string, string | number | boolean>>,
  ): void
}

const kinds: Readonly<Record<Step, SpanKind>> = {
  write: SpanKind.INTERNAL,
  commit: SpanKind.INTERNAL,
  send: SpanKind.PRODUCER,
  apply: SpanKind.CONSUMER,
}

export function openTracing(node: string): Tracing | undefined {
  const tracer = trace.getTracer('skein')
  const probe = tracer.startSpan('skein.start', { root: true, attributes: { 'skein.node': node } })
  probe.end()
  // Without an SDK all spans are one and the same, of no trace.
  if (probe.spanContext().traceId === INVALID_TRACEID) return undefined
  return {
    span(step, delta, fromMs, toMs, attributes = {}) {
      const outer = trace.getSpanContext(context.active())
      const span = tracer.startSpan(
        `skein.${step}`,
        {
          kind: kinds[step],
          startTime: fromMs,
          ...(step === 'write' && outer !== undefined && { links: [{ context: outer }] }),
          attributes: {
            'skein.node': node,
            'skein.space': delta.space,
            'skein.origin': delta.origin,
            'skein.seq': delta.seq,
            ...attributes,
          },
        },
        trace.setSpanContext(ROOT_CONTEXT, { ...traceOf(delta), traceFlags: TraceFlags.SAMPLED, isRemote: true }),
      )
      span.end(toMs)
    },
  }
}

/** The trace of a delta, and the span above all of its spans, which nobody records. */
export function traceOf({ space, origin, seq }: Traced): { readonly traceId: string; readonly spanId: string } {
  const bytes = new TextEncoder().encode(JSON.stringify([space, origin, seq]))
  hash128(bytes, 0, bytes.length, 0x74726163, 0, 0, 0) // "trac": apart from all other hashes
  const traceId = [...lanes].map((lane) => (lane >>> 0).toString(16).padStart(8, '0')).join('')
  return { traceId, spanId: traceId.slice(8, 24) }
}
