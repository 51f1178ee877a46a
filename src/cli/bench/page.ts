/** The report as one page that needs nothing else: what was asked, what was measured, figures and a picture of each. */
import type { BenchReport, Series } from './report.ts'

const width = 720
const height = 160
const left = 56

export function pageOf(report: BenchReport): string {
  const { asked, writes, series } = report
  const facts = [
    ['node', report.node],
    ['rate', `${asked.rate} writes a second, asked for`],
    ['size', `${asked.sizeBytes} bytes a value`],
    ['duration', `${(report.tookMs / 1000).toFixed(1)} s${report.stopped ? ', stopped early' : ''}`],
    ['writes', `${writes.due} due, ${writes.answered} answered, ${writes.failed} failed`],
    ['at', new Date(report.at).toISOString()],
  ]
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>skein bench</title><style>
body{font:15px/1.5 system-ui,sans-serif;max-width:${width + 80}px;margin:2rem auto;padding:0 1rem;color:#1d2430;background:#fff}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem .2rem 0;text-align:left}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
svg{width:100%;height:auto}text{font-size:11px;fill:#667}.p50{stroke:#2a6fdb;fill:none}.p99{stroke:#d9822b;fill:none}.axis{stroke:#ccd}
@media(prefers-color-scheme:dark){body{color:#dde;background:#14181f}text{fill:#99a}.axis{stroke:#334}}
</style></head><body><h1>skein bench</h1>
<table>${facts.map(([name = '', value = '']) => `<tr><th>${escaped(name)}</th><td>${escaped(value)}</td></tr>`).join('')}</table>
<p>${escaped(report.says)}</p>
<table><tr><th>from a write's moment until</th><th class="n">count</th><th class="n">p50 ms</th><th class="n">p90 ms</th><th class="n">p99 ms</th><th class="n">max ms</th></tr>
${series.map(rowOf).join('\n')}</table>
${series
  .filter(({ stretches }) => stretches.length > 1)
  .map(pictureOf)
  .join('\n')}
<script type="application/json" id="report">${JSON.stringify(report).replaceAll('<', '\\u003c')}</script>
</body></html>
`
}

function rowOf({ until, all }: Series): string {
  const cells = [String(all.count), ...[all.p50, all.p90, all.p99, all.max].map((ms) => ms.toFixed(1))]
  return `<tr><td>${escaped(until)}</td>${cells.map((cell) => `<td class="n">${cell}</td>`).join('')}</tr>`
}

/** Times on a scale of factors of ten. */
function pictureOf({ until, stretches }: Series): string {
  const most = Math.max(1, ...stretches.map(({ p99 }) => p99))
  const tens = Math.ceil(Math.log10(most) + 1)
  const last = Math.max(1, ...stretches.map(({ atMs }) => atMs))
  const x = (ms: number): number => left + ((width - left) * ms) / last
  const y = (ms: number): number => height - (height * (Math.log10(Math.max(ms, 0.1)) + 1)) / tens
  const line = (of: 'p50' | 'p99'): string =>
    stretches.map((one) => `${x(one.atMs).toFixed(1)},${y(one[of]).toFixed(1)}`).join(' ')
  const grid = Array.from({ length: tens + 1 }, (_, at) => 10 ** (at - 1))
    .map(
      (ms) =>
        `<line class="axis" x1="${left}" x2="${width}" y1="${y(ms)}" y2="${y(ms)}"/><text x="0" y="${y(ms) + 4}">${ms} ms</text>`,
    )
    .join('')
  return `<h2>${escaped(until)}</h2><svg viewBox="0 -8 ${width} ${height + 28}" role="img" aria-label="${escaped(until)} over time">${grid}
<polyline class="p99" points="${line('p99')}"/><polyline class="p50" points="${line('p50')}"/>
<text x="${left}" y="${height + 16}">0 s</text><text x="${width - 60}" y="${height + 16}">${(last / 1000).toFixed(0)} s · p50, p99</text></svg>`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
