/** Figures as inline SVG, for somebody who has a minute: ours in one strong colour, floors grey, everybody else calm. */
import type { Timeline } from './sample.ts'
import type { Kind } from './system.ts'

const colours: Readonly<Record<Kind, string>> = {
  skein: '#0b7a5b',
  crdt: '#3f6fb5',
  server: '#b8621b',
  broadcast: '#7b4fa3',
  floor: '#8b9199',
}

export function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}

/** Three digits, as people write them. */
export function brief(value: number): string {
  if (!Number.isFinite(value)) return '–'
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en')
  return String(Number(value.toPrecision(3)))
}

const width = 860
const labelWidth = 170
const rowHeight = 24
const right = 70

interface Axis {
  readonly low: number
  readonly high: number
  place(value: number): number
  readonly ticks: readonly number[]
}

function logarithmic(values: readonly number[], from: number, to: number): Axis {
  const positive = values.filter((value) => value > 0 && Number.isFinite(value))
  const low = 10 ** Math.floor(Math.log10(Math.min(...positive, 1)))
  const high = Math.max(low * 10, 10 ** Math.ceil(Math.log10(Math.max(...positive, low * 10))))
  const ticks = Array.from({ length: Math.round(Math.log10(high / low)) + 1 }, (_, at) => low * 10 ** at)
  const place = (value: number): number => {
    const share = Math.log10(Math.max(value, low) / low) / Math.log10(high / low)
    return from + Math.min(1, share) * (to - from)
  }
  return { low, high, place, ticks }
}

function svg(height: number, title: string, parts: readonly string[]): string {
  return [
    `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    ...parts,
    '</svg>',
  ].join('\n')
}

function text(x: number, y: number, words: string, more = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${escaped(words)}</text>`
}

function grid(axis: Axis, height: number, unit: string): string[] {
  return axis.ticks.flatMap((tick) => {
    const x = axis.place(tick)
    return [
      `<line class="grid" x1="${x}" x2="${x}" y1="6" y2="${height - 22}"/>`,
      text(x, height - 8, `${brief(tick)} ${unit}`, 'class="tick" text-anchor="middle"'),
    ]
  })
}

export interface StripRow {
  readonly name: string
  readonly kind: Kind
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly max: number
}

/** A row a system: the dot is what half of all take, the thick line goes to 90 %, the thin one to 99 %, the tick is the longest. */
export function strips(title: string, rows: readonly StripRow[], unit: string): string {
  const height = rows.length * rowHeight + 34
  const all = rows.flatMap(({ p50, max }) => [p50, max])
  const axis = logarithmic(all, labelWidth, width - right)
  const parts = rows.map(({ name, kind, p50, p90, p99, max }, at) => {
    const y = 18 + at * rowHeight
    const colour = colours[kind]
    const line = (from: number, to: number, thick: number): string =>
      `<line x1="${axis.place(from).toFixed(1)}" x2="${axis.place(to).toFixed(1)}" y1="${y}" y2="${y}" stroke="${colour}" stroke-width="${thick}" stroke-linecap="round"/>`
    const end = axis.place(max).toFixed(1)
    return [
      text(labelWidth - 12, y + 4, name, `text-anchor="end" class="${kind === 'skein' ? 'own' : ''}"`),
      line(p90, p99, 2),
      line(p50, p90, 7),
      `<line x1="${end}" x2="${end}" y1="${y - 5}" y2="${y + 5}" stroke="${colour}" stroke-width="1.5"/>`,
      `<circle cx="${axis.place(p50).toFixed(1)}" cy="${y}" r="6" fill="${colour}" stroke="#fff" stroke-width="1.5"/>`,
      text(width - right + 10, y + 4, brief(p50), 'class="value"'),
    ].join('')
  })
  return svg(height, title, [...grid(axis, height, unit), ...parts])
}

export interface BarRow {
  readonly name: string
  readonly kind: Kind
  readonly value: number
  readonly low: number
  readonly high: number
}

/** From zero, so that twice as long is twice as much; a thin line shows the lowest and the highest round. */
export function bars(title: string, rows: readonly BarRow[], unit: string): string {
  const height = rows.length * rowHeight + 12
  const most = Math.max(...rows.map(({ value, high }) => Math.max(value, high)), 1e-9)
  const from = labelWidth
  const to = width - right - 40
  const place = (value: number): number => from + (Math.max(0, value) / most) * (to - from)
  const parts = rows.map(({ name, kind, value, low, high }, at) => {
    const y = 18 + at * rowHeight
    const range =
      high > low
        ? `<line class="range" x1="${place(low).toFixed(1)}" x2="${place(high).toFixed(1)}" y1="${y}" y2="${y}"/>`
        : ''
    return [
      text(labelWidth - 12, y + 4, name, `text-anchor="end" class="${kind === 'skein' ? 'own' : ''}"`),
      `<rect x="${from}" y="${y - 8}" width="${Math.max(1.5, place(value) - from).toFixed(1)}" height="16" rx="2" fill="${colours[kind]}"/>`,
      range,
      text(place(Math.max(value, high)) + 8, y + 4, `${brief(value)} ${unit}`, 'class="value"'),
    ].join('')
  })
  return svg(height, title, parts)
}

export interface Line {
  readonly name: string
  readonly kind: Kind
  readonly points: readonly (readonly [x: number, y: number])[]
}

/** Both axes logarithmic; each line is named at its end. */
export function lines(title: string, of: readonly Line[], unitX: string, unitY: string): string {
  const height = 380
  const foot = height - 36
  const xs = [...new Set(of.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b)
  const ys = of.flatMap(({ points }) => points.map(([, y]) => y))
  const [firstX = 1, lastX = 1] = [xs[0], xs.at(-1)]
  const placeX = (x: number): number =>
    60 + (Math.log(x / firstX) / (Math.log(lastX / firstX) || 1)) * (width - 60 - 200)
  const axis = logarithmic(ys, foot, 14)
  const marks = [
    ...axis.ticks.flatMap((tick) => [
      `<line class="grid" x1="60" x2="${width - 200}" y1="${axis.place(tick)}" y2="${axis.place(tick)}"/>`,
      text(52, axis.place(tick) + 4, `${brief(tick)} ${unitY}`, 'class="tick" text-anchor="end"'),
    ]),
    ...xs.map((x) => text(placeX(x), foot + 20, `${x} ${unitX}`, 'class="tick" text-anchor="middle"')),
  ]
  // Names that would stand on each other are moved apart, in their order.
  const ends = of
    .flatMap((line) => {
      const end = line.points.at(-1)
      return end === undefined ? [] : [{ line, x: placeX(end[0]), y: axis.place(end[1]), at: 0 }]
    })
    .sort((a, b) => a.y - b.y)
  let next = 12
  for (const end of ends) next = (end.at = Math.max(next, end.y)) + 14
  const parts = ends.map(({ line: { name, kind, points }, x, y, at }) => {
    const colour = colours[kind]
    const isOwn = kind === 'skein'
    const places = points.map(([px, py]) => [placeX(px).toFixed(1), axis.place(py).toFixed(1)] as const)
    return [
      `<polyline points="${places.map((place) => place.join(',')).join(' ')}" fill="none" stroke="${colour}" stroke-width="${isOwn ? 3 : 1.5}" ${kind === 'floor' ? 'stroke-dasharray="5 4"' : ''}/>`,
      ...places.map(([px, py]) => `<circle cx="${px}" cy="${py}" r="${isOwn ? 4 : 2.5}" fill="${colour}"/>`),
      `<line x1="${x + 5}" y1="${y}" x2="${width - 192}" y2="${at}" stroke="${colour}" stroke-width="0.5"/>`,
      text(width - 188, at + 4, name, `fill="${colour}" class="${isOwn ? 'own' : ''}"`),
    ].join('')
  })
  return svg(height, title, [...marks, ...parts])
}

export interface TimelineRow {
  readonly name: string
  readonly kind: Kind
  readonly timeline: Timeline
}

/** A band a system: how old what came was, tenth by tenth; nothing where nothing came. The cut is shaded. */
export function timelines(title: string, rows: readonly TimelineRow[]): string {
  const band = 64
  const height = rows.length * band + 30
  const marks = rows.flatMap(({ timeline }) => timeline.marks)
  const arrivals = rows.flatMap(({ timeline }) => timeline.arrivals)
  const end = Math.max(...arrivals.map(([second]) => second), ...marks.map(({ second }) => second), 1) + 1
  const placeX = (second: number): number => labelWidth + (Math.max(0, second) / end) * (width - labelWidth - 10)
  const step = end > 20 ? 5 : 1
  const parts = rows.flatMap(({ name, kind, timeline }, at) => {
    const foot = (at + 1) * band - 6
    const axis = logarithmic([0.1, 100_000], foot, foot - band + 22)
    const [from, to] = timeline.marks
    const colour = colours[kind]
    return [
      from && to
        ? `<rect class="cut" x="${placeX(from.second)}" y="${foot - band + 18}" width="${placeX(to.second) - placeX(from.second)}" height="${band - 18}"/>`
        : '',
      ...timeline.arrivals.map(([second, , maxMs]) => {
        const y = axis.place(maxMs)
        return `<rect x="${placeX(second).toFixed(1)}" y="${y.toFixed(1)}" width="1.8" height="${Math.max(1, foot - y).toFixed(1)}" fill="${colour}"/>`
      }),
      ...timeline.marks.map(
        ({ second, says }, index) =>
          `<line class="mark" x1="${placeX(second).toFixed(1)}" x2="${placeX(second).toFixed(1)}" y1="${foot - band + 14}" y2="${foot}"/>` +
          text(placeX(second) + 3, foot - band + 16 + (index === 2 ? 10 : 0), says, 'class="tick"'),
      ),
      `<line class="grid" x1="${labelWidth}" x2="${width - 10}" y1="${foot}" y2="${foot}"/>`,
      text(labelWidth - 12, foot - 18, name, `text-anchor="end" class="${kind === 'skein' ? 'own' : ''}"`),
    ]
  })
  const seconds = Array.from({ length: Math.floor(end / step) + 1 }, (_, at) =>
    text(placeX(at * step), height - 6, `${at * step} s`, 'class="tick" text-anchor="middle"'),
  )
  return svg(height, title, [...parts, ...seconds])
}

export const legend: string = (Object.entries(colours) as [Kind, string][])
  .map(([kind, colour]) => `<span><i style="background:${colour}"></i>${says(kind)}</span>`)
  .join(' ')

function says(kind: Kind): string {
  switch (kind) {
    case 'skein':
      return 'Skein'
    case 'crdt':
      return 'replicas that merge'
    case 'server':
      return 'a central server'
    case 'broadcast':
      return 'messages without state'
    case 'floor':
      return 'floors: what nobody can go below'
  }
}
