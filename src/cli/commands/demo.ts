/** `skein demo`. The play itself is in demo.ts, and is loaded when it is asked for, since it brings the whole node along. */
import type { Command } from '../command.ts'

export const demoCommand: Command = {
  name: 'demo',
  says: 'three nodes, a network that breaks, and what becomes of the writes on both sides',
  more: 'Takes half a minute. Everything is real (sockets, disks, the protocol), stays on this host in a temporary directory, and is removed at the end. Exits with 1 unless all three nodes ended equal.',
  options: { fast: { help: 'Without pauses for reading.' } },
  examples: ['skein demo', 'skein demo --fast'],
  local: true,
  run: async (call) => (await import('../demo.ts')).demo(call),
}
