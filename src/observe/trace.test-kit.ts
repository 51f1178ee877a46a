/** An SDK of traces in a few lines, for tests: it keeps spans in memory. */
import { context, trace } from '@opentelemetry/api'
import type { Context, Span, SpanContext, SpanOptions, TracerProvider } from '@opentelemetry/api'

export interface Recorded {
  readonly name: string
  readonly options: SpanOptions
  readonly of: SpanContext
}

/** The least that an SDK does: it gives spans a name and remembers them. */
export function recording(): { readonly provider: TracerProvider; readonly spans: readonly Recorded[] } {
  const spans: Recorded[] = []
  const tracer = {
    startSpan(name: string, options: SpanOptions = {}, within: Context = context.active()): Span {
      const above = trace.getSpanContext(within)
      const of = { traceId: above?.traceId ?? 'f'.repeat(32), spanId: '1'.repeat(16), traceFlags: 1 }
      spans.push({ name, options, of })
      return trace.wrapSpanContext(of)
    },
    startActiveSpan: (): never => {
      throw new Error('not used')
    },
  }
  return { provider: { getTracer: () => tracer }, spans }
}
