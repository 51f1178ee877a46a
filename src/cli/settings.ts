/** The settings of a node as flags of a command, and where they all come from: flags, environment, files. */
import { readFileSync, statSync } from 'node:fs'
import { limits } from '../base/limits.ts'
import { flagOf, resolveConfig, settingNames, settings } from '../node/config.ts'
import type { Resolved, SettingName } from '../node/config.ts'
import { UsageError } from './command.ts'
import type { Call, Option, Options } from './command.ts'

export const settingOptions: Options = {
  config: { takes: 'FILE', help: 'Take settings from this file (SKEIN_CONFIG).' },
  ...Object.fromEntries(settingNames.flatMap((name) => optionOf(name))),
}

function optionOf(name: SettingName): [string, Option][] {
  const flag = flagOf(name)
  if (flag === undefined) return []
  const { reader, fallback, help } = settings[name]
  const shown = typeof fallback === 'string' && fallback !== '' ? ` (${fallback})` : ''
  return [
    [
      flag,
      {
        takes: reader.takes,
        help: `${help.replace(/\.$/, '')}${shown}.`,
        ...(reader.many === true && { many: true }),
        ...(reader.words !== undefined && { words: reader.words }),
      },
    ],
  ]
}

export function resolveSettings(call: Call): Resolved {
  const path = call.text('config') ?? (call.environment['SKEIN_CONFIG'] || undefined)
  const flags = Object.fromEntries(
    settingNames.flatMap((name) => {
      const values = call.texts(flagOf(name) ?? '')
      return values.length === 0 ? [] : [[name, values]]
    }),
  )
  return resolveConfig({
    flags,
    environment: call.environment,
    ...(path !== undefined && { file: { path, text: textOf(path) } }),
    readKeyFile: (file) => ({ text: textOf(file), isPrivate: isPrivate(file) }),
  })
}

export function textOf(path: string): string {
  try {
    const { size } = statSync(path)
    if (size > limits.configBytes) throw new UsageError(`${path} has more than ${limits.configBytes} bytes`)
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}`)
  }
}

/** Windows has other rights than these, and no way to ask for them here. */
function isPrivate(path: string): boolean {
  return process.platform === 'win32' || (statSync(path).mode & 0o077) === 0
}
