/** What a node would be started with, and everything that is wrong with it. */
import { settingNames, showSetting } from '../../node/config.ts'
import type { Mistake } from '../../node/config.ts'
import type { Cell, Command } from '../command.ts'
import { resolveSettings, settingOptions } from '../settings.ts'

export const configCheckCommand: Command = {
  name: 'config check',
  says: 'print every setting, its value and where it came from, and every mistake',
  more: 'Takes the flags of `up` and opens nothing. Exits with 1 when `up` would not start.',
  options: settingOptions,
  examples: ['skein config check', 'skein config check --config skein.json --keep-ms 2d'],
  local: true,
  run(call) {
    const { config, sources, mistakes, warnings } = resolveSettings(call)
    const values = settingNames.map((name) => ({ name, value: showSetting(name, config), source: sources[name] }))
    const { screen } = call
    const rows = values.map(({ name, value, source }): Cell[] => [
      name,
      value,
      source === 'default' ? { text: source, tone: 'dim' } : source,
    ])
    const found = [
      ...mistakes.map((mistake) => screen.paint('bad', `wrong    ${lineOf(mistake)}`)),
      ...warnings.map((warning) => screen.paint('doubtful', `careful  ${lineOf(warning)}`)),
    ]
    return Promise.resolve({
      data: { settings: values, mistakes, warnings },
      text: { columns: ['setting', 'value', 'from'], rows, none: '' },
      note: found.join('\n'),
      yes: mistakes.length === 0,
    })
  },
}

export function lineOf({ source, what }: Mistake): string {
  return `${source}: ${what}`
}
