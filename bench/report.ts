/** Figures as text for people and as JSON for machines. */
import { readFileSync, writeFileSync } from 'node:fs'
import type { Machine } from './machine.ts'
import { verdict } from './scenario.ts'
import type { Figure, Goal, Outcome, Spread, Unit } from './scenario.ts'

export interface Measured extends Outcome {
  readonly scenario: string
  readonly measures: string
}

export interface Report {
  readonly suite: string
  readonly command: string
  /** ISO day on which it ran. */
  readonly date: string
  readonly quick: boolean
  readonly machine: Machine
  readonly results: readonly Measured[]
}

export function machineLines({ cpu, cores, memoryGib, system, load, versions }: Machine): string[] {
  return [
    `${cpu}, ${cores} cores, ${memoryGib} GiB, ${system}; load ${load} when it began`,
    Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
  ]
}

export function number(value: number, unit: Unit): string {
  switch (unit) {
    case 'x':
      return `${value.toFixed(2)} x`
    case '%':
      return `${value.toFixed(0)} %`
    case 'ops/s':
      return `${Math.round(value).toLocaleString('en')} /s`
    case 'ms':
    case 's':
      return `${value.toFixed(value < 10 ? 2 : 1)} ${unit}`
    case 'MB':
      return `${value.toFixed(0)} MB`
    case 'bytes':
      return `${Number.isInteger(value) ? value.toLocaleString('en') : value.toFixed(1)} bytes`
    case 'hops':
    case 'copies':
    case 'rounds':
    case 'frames':
      return `${Number.isInteger(value) ? value : value.toFixed(2)} ${unit}`
    case 'rows':
    case 'nodes':
    case 'entries':
    case 'round trips':
      return `${value.toLocaleString('en')} ${unit}`
  }
}

function range({ low, high, rounds }: Spread, unit: Unit): string {
  return rounds > 1 ? `${number(low, unit)} to ${number(high, unit)}, ${rounds} rounds` : ''
}

export function goalText({ atLeast, atMost }: Goal, unit: Unit): string {
  const parts: string[] = []
  if (atLeast !== undefined) parts.push(`at least ${number(atLeast, unit)}`)
  if (atMost !== undefined) parts.push(`at most ${number(atMost, unit)}`)
  return parts.join(', ')
}

function cells(figure: Figure): [name: string, value: string, spread: string, goal: string, verdict: string] {
  const { name, unit, value, goal } = figure
  return [
    name,
    number(value.median, unit),
    range(value, unit),
    goal === undefined ? '' : goalText(goal, unit),
    verdict(figure) ?? '',
  ]
}

/** One scenario for a terminal. */
export function printed({ scenario, measures, figures, notes = [] }: Measured): string {
  const rows = figures.map(cells)
  const widths = [0, 1, 2, 3].map((at) => Math.max(...rows.map((row) => (row[at] as string).length)))
  const lines = rows.map((row) => {
    const [name, value, ...rest] = row.slice(0, 4).map((cell, at) => {
      const width = widths[at] as number
      return at === 1 ? cell.padStart(width) : cell.padEnd(width)
    })
    return `  ${[name, value, ...rest].join('  ')}  ${row[4]}`.trimEnd()
  })
  return [`\n${scenario}`, `  ${measures}`, '', ...lines, '', ...notes.map((note) => `  - ${note}`)].join('\n')
}

export function shortOf(report: Report): string[] {
  return report.results.flatMap(({ scenario, figures }) =>
    figures.filter((figure) => verdict(figure) === 'short').map((figure) => `${scenario}: ${figure.name}`),
  )
}

function markdown(report: Report): string {
  const { command, date, machine, results } = report
  const tables = results.map(({ scenario, measures, figures, notes = [] }) =>
    [
      `#### ${scenario}`,
      '',
      measures,
      '',
      '| figure | median | lowest to highest | goal | |',
      '| --- | --- | --- | --- | --- |',
      ...figures.map((figure) => `| ${cells(figure).join(' | ')} |`),
      '',
      ...notes.map((note) => `- ${note}`),
    ].join('\n'),
  )
  return [`\`${command}\`, ${date}.`, ...machineLines(machine), ...tables].join('\n\n')
}

/** Puts the figures of a suite into the page, between its two marks. */
export function writeInto(page: URL, report: Report): void {
  putInto(page, report.suite, markdown(report))
}

export function putInto(page: URL, name: string, figures: string): void {
  const begin = `<!-- figures: ${name} -->`
  const end = `<!-- end of figures: ${name} -->`
  const text = readFileSync(page, 'utf8')
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from < 0 || to < from) throw new Error(`${page.pathname} has no place for the figures of ${name}`)
  writeFileSync(page, `${text.slice(0, from + begin.length)}\n\n${figures}\n\n${text.slice(to)}`)
}
