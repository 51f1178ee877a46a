/** Every command, in the order in which help tells of them. A new one is an entry of a file here and a line below. */
import type { Command } from '../command.ts'
import { benchCommand } from './bench.ts'
import { completionCommand } from './completion.ts'
import { configCheckCommand } from './config.ts'
import { conflictCommands } from './conflicts.ts'
import { demoCommands } from './demo.ts'
import { doctorCommand } from './doctor.ts'
import { entryCommands } from './entries.ts'
import { backupCommands } from './backup.ts'
import { fleetCommands } from './fleet.ts'
import { keyCommands } from './keys.ts'
import { lineCommands } from './lines.ts'
import { rulesCommand } from './rules.ts'
import { purgeCommand } from './purge.ts'
import { tokenCommands } from './tokens.ts'
import { topCommand } from './top.ts'
import { upCommand } from './up.ts'
import { watchCommand } from './watch.ts'

export const commands: readonly Command[] = [
  upCommand,
  ...entryCommands,
  watchCommand,
  ...conflictCommands,
  purgeCommand,
  ...fleetCommands,
  rulesCommand,
  topCommand,
  benchCommand,
  ...backupCommands,
  ...lineCommands,
  ...keyCommands,
  ...tokenCommands,
  ...demoCommands,
  doctorCommand,
  configCheckCommand,
  completionCommand,
]
