/** `skein up`. What it does is in up.ts; it is loaded when it is asked for, since it brings the whole node along. */
import type { Command } from '../command.ts'
import { settingOptions } from '../settings.ts'

export const upCommand: Command = {
  name: 'up',
  says: 'run a node, until Ctrl-C or SIGTERM',
  more: 'Without options: a single node in ./skein-data, for programs on this host. Stopping loses nothing that was written; a second Ctrl-C ends it at once, as a crash would, and that loses nothing that was durable.',
  options: {
    ...settingOptions,
    'set-aside': { help: 'Where the directory is damaged: move it aside, whole, and start empty.' },
  },
  examples: ['skein up', 'skein up --dir /var/lib/skein --join ws://host-a:7400 --fleet-key-file fleet.key'],
  local: true,
  run: async (call) => (await import('../up.ts')).up(call),
}
