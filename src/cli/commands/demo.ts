/** `skein demo`. The plays are loaded when they are asked for, since they bring the whole node along. */
import type { Command } from '../command.ts'

export const demoCommands: readonly Command[] = [
  {
    name: 'demo',
    says: 'three nodes, a network that breaks, and what becomes of the writes on both sides',
    more: 'Takes half a minute. Everything is real (sockets, disks, the protocol), stays on this host in a temporary directory, and is removed at the end. Exits with 1 unless all three nodes ended equal.',
    options: { fast: { help: 'Without pauses for reading.' } },
    examples: ['skein demo', 'skein demo --fast'],
    local: true,
    run: async (call) => (await import('../demo.ts')).demo(call),
  },
  {
    name: 'demo conflicts',
    says: 'two agents refund one order on both sides of a broken network: raised once, shown, decided, on record',
    more: 'Takes most of a minute. Everything is real, stays on this host in a temporary directory, and is removed at the end. Exits with 1 unless it came out as it must.',
    options: { fast: { help: 'Without pauses for reading.' } },
    examples: ['skein demo conflicts', 'skein demo conflicts --fast'],
    local: true,
    run: async (call) => (await import('../demo-conflicts.ts')).demoConflicts(call),
  },
]
