/** Series of figures as one SVG, a panel each: for a page, not for exploring. */
import type { Series } from './scenario.ts'

const panel = { width: 300, height: 240, left: 46, right: 14, top: 34, bottom: 38 }

function ticks(least: number, most: number, logarithmic: boolean): number[] {
  if (logarithmic) {
    const powers = Array.from({ length: 12 }, (_, at) => 10 ** at)
    return powers.filter((power) => power >= least && power <= most)
  }
  const rough = (most - least) / 4
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10) * power
  const first = Math.ceil(least / step)
  return Array.from({ length: 12 }, (_, at) => (first + at) * step).filter((tick) => tick <= most)
}

function drawn({ name, x, logarithmic, points, goal = [] }: Series, offset: number): string {
  const all = [...points, ...goal]
  const [leastX, mostX] = [Math.min(...all.map(([at]) => at)), Math.max(...all.map(([at]) => at))]
  const mostY = Math.max(...all.map(([, value]) => value)) * 1.1
  const scaled = (value: number): number => (logarithmic ? Math.log10(value) : value)
  const placeX = (value: number): number => {
    const share = (scaled(value) - scaled(leastX)) / (scaled(mostX) - scaled(leastX) || 1)
    return panel.left + share * (panel.width - panel.left - panel.right)
  }
  const placeY = (value: number): number =>
    panel.height - panel.bottom - (value / mostY) * (panel.height - panel.top - panel.bottom)
  const line = (of: readonly (readonly [number, number])[]): string =>
    of.map(([at, value]) => `${placeX(at).toFixed(1)},${placeY(value).toFixed(1)}`).join(' ')
  const bottom = panel.height - panel.bottom
  const marksX = ticks(leastX, mostX, logarithmic).map(
    (at) =>
      `<text x="${placeX(at).toFixed(1)}" y="${bottom + 15}" text-anchor="middle">${at.toLocaleString('en')}</text>`,
  )
  const marksY = ticks(0, mostY, false).map((value) => {
    const y = placeY(value).toFixed(1)
    return (
      `<line class="grid" x1="${panel.left}" x2="${panel.width - panel.right}" y1="${y}" y2="${y}"/>` +
      `<text x="${panel.left - 6}" y="${y}" dy="4" text-anchor="end">${Number(value.toPrecision(3))}</text>`
    )
  })
  const dots =
    points.length > 12
      ? []
      : points.map(([at, value]) => `<circle cx="${placeX(at).toFixed(1)}" cy="${placeY(value).toFixed(1)}" r="3"/>`)
  return [
    `<g transform="translate(${offset},0)">`,
    `<text class="name" x="${panel.left}" y="18">${name}</text>`,
    ...marksX,
    ...marksY,
    `<text x="${(panel.left + panel.width - panel.right) / 2}" y="${panel.height - 6}" text-anchor="middle">${x}</text>`,
    goal.length === 0 ? '' : `<polyline class="goal" points="${line(goal)}"/>`,
    `<polyline points="${line(points)}"/>`,
    ...dots,
    '</g>',
  ].join('\n')
}

export function svgOf(series: readonly Series[]): string {
  const width = panel.width * series.length
  const style =
    'text{font:11px sans-serif;fill:#444}.name{font-weight:bold;font-size:12px;fill:#222}.grid{stroke:#ddd}' +
    'polyline{fill:none;stroke:#2266aa;stroke-width:2}.goal{stroke:#bb4422;stroke-dasharray:5 4;stroke-width:1.5}circle{fill:#2266aa}'
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${panel.height}" width="${width}" height="${panel.height}" role="img">`,
    `<title>Measured (solid) and asked for at most (dashed)</title>`,
    `<style>${style}</style><rect width="100%" height="100%" fill="#fff"/>`,
    ...series.map((one, at) => drawn(one, at * panel.width)),
    '</svg>\n',
  ].join('\n')
}
