/** The section of docs/BENCHMARKS.md: the same figures as the page, as tables. */
import { machineLines, number, goalText } from '../report.ts'
import { verdict } from '../scenario.ts'
import { brief } from './charts.ts'
import { caveats, method } from './method.ts'
import { ahead, failureOf, judged, samplesOf, settingsOf, valueOf } from './results.ts'
import type { Results } from './results.ts'
import { metrics } from './sample.ts'
import type { Scenario } from './scenario.ts'

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}

export function markdown(results: Results, scenarios: readonly Scenario[]): string {
  const there = scenarios.filter(({ letter }) => settingsOf(results, letter).length > 0)
  const goals = there.flatMap(({ letter, goals: of }) => of.flatMap((goal) => judged(results, letter, goal) ?? []))
  const shows = Object.fromEntries(there.map(({ letter, shows: shown }) => [letter, shown]))
  const others = ahead(results, shows)
  return [
    `\`${results.command}\`, ${results.date.slice(0, 10)}.`,
    ...machineLines(results.machine),
    ...(goals.length === 0
      ? []
      : [
          [
            row(['', 'figure', 'measured', 'rounds', 'goal', '']),
            row(['---', '---', '---', '---', '---', '---']),
            ...goals.map((goal) => {
              const { scenario, setting, name, value, unit } = goal
              const range = value.rounds > 1 ? `${number(value.low, unit)} to ${number(value.high, unit)}` : ''
              return row([
                `${scenario}, ${setting}`,
                name,
                number(value.median, unit),
                range,
                goalText(goal.goal ?? {}, unit),
                verdict(goal) ?? '',
              ])
            }),
          ].join('\n'),
        ]),
    ...there.map((scenario) => section(results, scenario)),
    '#### Where others are ahead of Skein at `os`',
    others.length === 0
      ? 'Nowhere in this run.'
      : others
          .map(({ scenario, setting, metric, system, theirs, ours }) => {
            const { says, unit } = metrics[metric]
            return `- ${scenario}, ${setting}, ${says}: ${system} ${brief(theirs)} ${unit}, ours ${brief(ours)} ${unit}`
          })
          .join('\n'),
    '#### Systems',
    [
      row(['', 'what runs', 'durability', 'versions']),
      row(['---', '---', '---', '---']),
      ...results.systems.map(({ id, says, topology, durability, durabilitySays, version }) =>
        row([id, `${says} (${topology})`, `${durability}: ${durabilitySays}`, version]),
      ),
    ].join('\n'),
    ...results.absent.map(({ id, why }) => `${id} did not run: ${why}`),
    '#### How it was measured, and what is not comparable',
    [...method, ...caveats].map((sentence) => `- ${sentence}`).join('\n'),
  ].join('\n\n')
}

function section(results: Results, { letter, name, measures, shows }: Scenario): string {
  const tables = settingsOf(results, letter).map((setting) => {
    const heads = shows.map(
      (metric) => `${metrics[metric].says}${metrics[metric].unit === '' ? '' : `, ${metrics[metric].unit}`}`,
    )
    const rows = results.systems.flatMap(({ id }) => {
      const samples = samplesOf(results, letter, setting, id)
      if (samples.length === 0) return []
      const failure = failureOf(samples)
      const cells = shows.map((metric) => {
        const value = valueOf(samples, metric)
        return value === undefined ? '' : brief(value.median)
      })
      return [row([id, ...(failure === undefined ? cells : [failure, ...cells.slice(1)])])]
    })
    return [`**${setting}**`, '', row(['', ...heads]), row(['---', ...heads.map(() => '---:')]), ...rows].join('\n')
  })
  return [`#### ${letter}. ${name}`, measures, ...tables].join('\n\n')
}
