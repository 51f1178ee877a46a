/** The report for people: one HTML page that needs nothing beside itself. */
import { goalText, machineLines, number } from '../report.ts'
import { svgOf } from '../plot.ts'
import { verdict } from '../scenario.ts'
import type { Figure, Series } from '../scenario.ts'
import { bars, brief, escaped, legend, lines, strips, timelines } from './charts.ts'
import { caveats, method } from './method.ts'
import { ahead, failureOf, judged, samplesOf, settingsOf, valueOf } from './results.ts'
import type { Ahead, Judged, Results, SystemFacts } from './results.ts'
import { metrics } from './sample.ts'
import type { CoursePoint, MetricName } from './sample.ts'
import type { Scenario } from './scenario.ts'

const style = `
:root{--ink:#1d2126;--soft:#5b636d;--line:#dfe3e8;--paper:#fff;--tint:#f5f7f9;--own:#0b7a5b;--short:#a8321e}
@media (prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#a2a9b2;--line:#3a4048;--paper:#16191d;--tint:#1f2328;--own:#3fc39a;--short:#ff8a73}}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:920px;margin:0 auto;padding:32px 24px 80px}
h1{font-size:28px;margin:0 0 4px}h2{font-size:21px;margin:56px 0 4px;border-top:1px solid var(--line);padding-top:24px}h3{font-size:15px;margin:28px 0 6px}
p{margin:6px 0 12px;max-width:76ch}.soft,caption{color:var(--soft)}small{color:var(--soft)}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums;margin:8px 0}
.wide{overflow-x:auto}th{font-weight:600;text-align:right;color:var(--soft);vertical-align:bottom;padding:4px 8px}
th:first-child,td:first-child{text-align:left}td{padding:4px 8px;border-top:1px solid var(--line);text-align:right;white-space:nowrap}
td.words{white-space:normal;text-align:left}tr.skein td:first-child{color:var(--own);font-weight:700}tr.skein{background:var(--tint)}
.ok{color:var(--own);font-weight:600}.short{color:var(--short);font-weight:600}
svg{max-width:100%;height:auto;font:12px system-ui,sans-serif}svg text{fill:var(--ink)}svg .tick{fill:var(--soft);font-size:11px}svg .own{font-weight:700}
svg .value{font-variant-numeric:tabular-nums}svg .grid{stroke:var(--line)}svg .range{stroke:var(--ink);stroke-width:1;opacity:.55}svg .cut{fill:#d9822b;opacity:.16}svg .mark{stroke:var(--soft);stroke-dasharray:2 2}
nav{margin:12px 0;font-size:14px}nav a{color:inherit;margin-right:14px}.legend span{margin-right:16px;white-space:nowrap;font-size:13px}.legend i{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:6px}
ul{padding-left:20px}li{margin:4px 0;max-width:86ch}
`

/** What a scenario is drawn as: the one figure that answers its question, and those that say at what price. */
const drawn: Readonly<Record<string, readonly MetricName[]>> = {
  c: ['rate', 'peak'],
  d: ['equal', 'overhead'],
  e: ['equal', 'exchanged'],
  f: ['equal'],
  h: ['flows'],
  j: ['equal', 'peak'],
  k: ['rate', 'bytes'],
}

const drawnAsLags = ['a', 'b', 'g', 'i', 'k']

export function page(results: Results, scenarios: readonly Scenario[]): string {
  const there = scenarios.filter(({ letter }) => settingsOf(results, letter).length > 0)
  const goals = there.flatMap(({ letter, goals: of }) => of.flatMap((goal) => judged(results, letter, goal) ?? []))
  const shows = Object.fromEntries(there.map(({ letter, shows: shown }) => [letter, shown]))
  const parts = [
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
    `<title>Skein: convergence, ${results.date.slice(0, 10)}</title><style>${style}</style><main>`,
    '<h1>How long until everybody knows</h1>',
    `<p class="soft">${escaped(results.date.replace('T', ' ').slice(0, 16))} UTC · <code>${escaped(results.command)}</code>${results.quick ? ' · <b>quick: to see that it runs, not to quote</b>' : ''}<br>${machineLines(results.machine).map(escaped).join('<br>')}</p>`,
    `<nav>${there.map(({ letter, name }) => `<a href="#${letter}">${letter}. ${escaped(name)}</a>`).join(' ')}<a href="#systems">systems</a><a href="#method">method</a></nav>`,
    `<p class="legend">${legend}</p>`,
    goalTable(goals),
    aheadTable(ahead(results, shows)),
    ...there.map((scenario) => section(results, scenario)),
    systemsTable(results),
    '<h2 id="method">Method</h2>',
    list(method),
    '<h3>What is not comparable</h3>',
    list([...caveats, ...ownCaveats(results)]),
    took(results),
    '</main></html>',
  ]
  return `${parts.join('\n')}\n`
}

function list(sentences: readonly string[]): string {
  return `<ul>${sentences.map((sentence) => `<li>${escaped(sentence)}</li>`).join('')}</ul>`
}

function rangeText({ value, unit }: Figure): string {
  return value.rounds > 1 ? `${number(value.low, unit)} to ${number(value.high, unit)}` : ''
}

function goalTable(goals: readonly Judged[]): string {
  if (goals.length === 0) return ''
  const met = goals.filter((goal) => verdict(goal) === 'ok').length
  const rows = goals.map((goal) => {
    const word = verdict(goal) ?? ''
    return `<tr><td>${goal.scenario}</td><td class="words">${escaped(goal.setting)}</td><td class="words">${escaped(goal.name)}</td><td>${number(goal.value.median, goal.unit)}</td><td>${rangeText(goal)}</td><td>${goalText(goal.goal ?? {}, goal.unit)}</td><td class="${word}">${word === 'ok' ? 'met' : word}</td></tr>`
  })
  return `<h2>What was asked for</h2><p>${met} of ${goals.length} goals are met. Each is a ratio of two things measured in turn within this run, or a size.</p><div class="wide"><table><tr><th></th><th></th><th></th><th>measured</th><th>rounds</th><th>goal</th><th></th></tr>${rows.join('')}</table></div>`
}

function aheadTable(found: readonly Ahead[]): string {
  if (found.length === 0) return ''
  const rows = found.map(({ scenario, setting, metric, system, theirs, ours }) => {
    const { says, unit } = metrics[metric]
    return `<tr><td>${scenario}</td><td class="words">${escaped(setting)}</td><td class="words">${escaped(says)}</td><td class="words">${escaped(system)}</td><td>${brief(theirs)} ${unit}</td><td>${brief(ours)} ${unit}</td></tr>`
  })
  return `<details><summary><b>Where others are ahead of Skein at <code>os</code></b>: ${found.length} figures</summary><div class="wide"><table><tr><th></th><th></th><th></th><th></th><th>theirs</th><th>ours</th></tr>${rows.join('')}</table></div></details>`
}

function section(results: Results, scenario: Scenario): string {
  const { letter, name, measures } = scenario
  const settings = settingsOf(results, letter)
  const excluded = results.excluded[letter] ?? []
  return [
    `<h2 id="${letter}">${letter}. ${escaped(name)}</h2><p>${escaped(measures)}</p>`,
    letter === 'a' ? againstNodes(results, settings) : '',
    ...settings.map((setting) => settingPart(results, scenario, setting)),
    excluded.length === 0
      ? ''
      : `<p><small>Not asked: ${excluded.map(({ id, why }) => `${escaped(id)} (${escaped(why)})`).join(', ')}.</small></p>`,
  ].join('\n')
}

function settingPart(results: Results, { letter, shows }: Scenario, setting: string): string {
  const charts: string[] = []
  if (drawnAsLags.includes(letter)) charts.push(lagChart(results, letter, setting))
  for (const metric of drawn[letter] ?? []) charts.push(barChart(results, letter, setting, metric))
  charts.push(timelineChart(results, letter, setting), courseChart(results, letter, setting))
  return `<h3>${escaped(setting)}</h3>${charts.join('\n')}${table(results, letter, setting, shows)}`
}

function sorted(results: Results, letter: string, setting: string, metric: MetricName): [SystemFacts, number][] {
  const sign = metrics[metric].better === 'less' ? 1 : -1
  return results.systems
    .flatMap((facts): [SystemFacts, number][] => {
      const value = valueOf(samplesOf(results, letter, setting, facts.id), metric)
      return value === undefined || Number.isNaN(value.median) ? [] : [[facts, value.median]]
    })
    .sort(([, a], [, b]) => sign * (a - b))
}

function lagChart(results: Results, letter: string, setting: string): string {
  const rows = sorted(results, letter, setting, 'p50').map(([{ id, kind }, p50]) => {
    const of = (metric: MetricName): number => valueOf(samplesOf(results, letter, setting, id), metric)?.median ?? p50
    return { name: id, kind, p50, p90: of('p90'), p99: of('p99'), max: of('max') }
  })
  if (rows.length === 0) return ''
  return `<p class="soft">Lag: the dot is what half of all changes take (the number at the right, in ms), the thick line reaches to 90 %, the thin one to 99 %, the tick is the longest. The scale is logarithmic.</p>${strips(`Lag, ${setting}`, rows, 'ms')}`
}

function barChart(results: Results, letter: string, setting: string, metric: MetricName): string {
  const rows = sorted(results, letter, setting, metric).map(([{ id, kind }, value]) => {
    const { low = value, high = value } = valueOf(samplesOf(results, letter, setting, id), metric) ?? {}
    return { name: id, kind, value, low, high }
  })
  if (rows.length === 0) return ''
  const { says, unit, better } = metrics[metric]
  return `<p class="soft">${escaped(says)}: ${better === 'less' ? 'shorter' : 'longer'} is better</p>${bars(says, rows, unit)}`
}

function againstNodes(results: Results, settings: readonly string[]): string {
  const sizes = settings.map((setting) => [setting, Number(setting.replace('N = ', ''))] as const)
  if (sizes.length < 2) return ''
  const of = results.systems.flatMap(({ id, kind }) => {
    const points = sizes.flatMap(([setting, nodes]): [number, number][] => {
      const value = valueOf(samplesOf(results, 'a', setting, id), 'p50')
      return value === undefined || Number.isNaN(value.median) ? [] : [[nodes, value.median]]
    })
    return points.length === 0 ? [] : [{ name: id, kind, points }]
  })
  return `<h3>Lag against the number of nodes</h3><p class="soft">What half of all changes take, in ms; both scales are logarithmic. All nodes share this machine’s cores.</p>${lines('Lag against the number of nodes', of, 'nodes', 'ms')}`
}

function timelineChart(results: Results, letter: string, setting: string): string {
  const rows = results.systems.flatMap(({ id, kind }) => {
    const timeline = samplesOf(results, letter, setting, id).find((sample) => sample.timeline !== undefined)?.timeline
    return timeline === undefined ? [] : [{ name: id, kind, timeline }]
  })
  if (rows.length === 0) return ''
  return `<p class="soft">What came in each tenth of a second, and how old the oldest of it was (height, 0.1 ms to 100 s, logarithmic). Where nothing is drawn, nothing came.</p>${timelines(setting, rows)}`
}

/** A row of panels a system: lag, memory and disk as they went. */
function courseChart(results: Results, letter: string, setting: string): string {
  return results.systems
    .flatMap(({ id }) => {
      const course = samplesOf(results, letter, setting, id).find((sample) => sample.course !== undefined)?.course
      if (course === undefined) return []
      const series = (name: string, of: (point: CoursePoint) => number): Series => ({
        name: `${id}: ${name}`,
        x: 'seconds',
        logarithmic: false,
        points: course.map((point) => [point.second, of(point)] as const),
      })
      return svgOf([
        series('lag, half of all, ms', ({ p50 }) => p50),
        series('memory of a node, MB', ({ residentMb }) => residentMb),
        series('disk of all, MB', ({ diskMb }) => diskMb),
      ])
    })
    .join('\n')
}

function table(results: Results, letter: string, setting: string, wanted: readonly MetricName[]): string {
  const own = samplesOf(results, letter, setting)
  const shows = wanted.filter((metric) => own.some(({ figures }) => figures[metric] !== undefined))
  const heads = shows.map((metric) => `<th>${escaped(metrics[metric].says)}${unitOf(metric)}</th>`)
  const rows = results.systems.flatMap(({ id, kind }) => {
    const samples = samplesOf(results, letter, setting, id)
    if (samples.length === 0) return []
    const failure = failureOf(samples)
    const cells =
      failure === undefined
        ? shows.map((metric) => `<td>${cell(results, letter, setting, id, metric)}</td>`).join('')
        : `<td class="words short" colspan="${Math.max(1, shows.length)}">${escaped(failure)}</td>`
    return [`<tr class="${kind}"><td>${escaped(id)}</td>${cells}</tr>`]
  })
  return `<div class="wide"><table><tr><th></th>${heads.join('')}</tr>${rows.join('')}</table></div>`
}

function unitOf(metric: MetricName): string {
  const { unit } = metrics[metric]
  return unit === '' ? '' : `, ${unit}`
}

function cell(results: Results, letter: string, setting: string, id: string, metric: MetricName): string {
  const value = valueOf(samplesOf(results, letter, setting, id), metric)
  if (value === undefined) return ''
  const range =
    value.rounds > 1 && value.high > value.low
      ? ` title="${brief(value.low)} to ${brief(value.high)}, ${value.rounds} rounds"`
      : ''
  return `<span${range}>${brief(value.median)}</span>`
}

function systemsTable({ systems, absent }: Results): string {
  const rows = systems.map(
    ({ id, kind, topology, version, says, durability, durabilitySays }) =>
      `<tr class="${kind}"><td>${escaped(id)}</td><td class="words">${escaped(says)}</td><td class="words">${topology}</td><td class="words"><b>${durability}</b>: ${escaped(durabilitySays)}</td><td class="words">${escaped(version)}</td></tr>`,
  )
  const away = absent.map(({ id, why }) => `<li><b>${escaped(id)}</b> did not run: ${escaped(why)}</li>`)
  return `<h2 id="systems">Systems</h2><div class="wide"><table><tr><th></th><th>what runs</th><th></th><th>what survives once acknowledged</th><th>versions</th></tr>${rows.join('')}</table></div>${away.length === 0 ? '' : `<ul>${away.join('')}</ul>`}`
}

function ownCaveats({ systems }: Results): string[] {
  const of = new Map<string, string[]>()
  for (const { id, notComparable } of systems) {
    for (const sentence of notComparable) of.set(sentence, [...(of.get(sentence) ?? []), id])
  }
  return [...of].map(([sentence, ids]) => `${ids.join(', ')}: ${sentence}`)
}

function took({ took: all }: Results): string {
  const total = all.reduce((sum, { seconds }) => sum + seconds, 0)
  const each = all.map(({ scenario, setting, seconds }) => `${scenario} ${escaped(setting)} ${Math.round(seconds)} s`)
  return `<p><small>The run took ${Math.round(total / 60)} minutes: ${each.join('; ')}. Its data are made from seed 1.</small></p>`
}
