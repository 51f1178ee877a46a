/** Everything in one file, while the node runs, and back. */
import { OutOfReach } from '../command.ts'
import type { Call, Command } from '../command.ts'
import { countText, sizeText } from '../screen.ts'

export const backupCommands: readonly Command[] = [
  {
    name: 'backup',
    says: 'write everything to one file, while the node runs',
    more: 'History, concurrent values and budgets included. The file appears when it is whole; nothing is overwritten.',
    args: [{ name: 'FILE' }],
    examples: ['skein backup before-upgrade.skein'],
    async run(call) {
      const [file = ''] = call.args
      // Stores and all that belongs to them: loaded by who needs them.
      const { saveBackup } = await import('../../backup.ts')
      const report = await saveBackup(pieces(call), file)
      return {
        data: { ...report, file },
        text: `${countText(report.rows, 'row')}, ${sizeText(report.sizeBytes)} in ${file}`,
      }
    },
  },
  {
    name: 'restore',
    says: 'make a data directory, which must not exist, from a backup',
    more: 'The whole file is checked before anything is made. The directory is a new node and may run beside the original. To replace a node that is gone, budget rights included, give the `identity.key` of its directory.',
    args: [{ name: 'FILE' }],
    options: {
      dir: { takes: 'DIR', help: 'The directory to make (skein-data).' },
      identity: { takes: 'FILE', help: 'The identity.key of the node that the backup is of.' },
    },
    examples: ['skein restore before-upgrade.skein --dir restored'],
    local: true,
    async run(call) {
      const [file = ''] = call.args
      const dir = call.text('dir') ?? 'skein-data'
      const { restore } = await import('../../backup.ts')
      const identity = call.text('identity')
      const report = await restore(file, dir, identity === undefined ? {} : { identity })
      return { data: { ...report, dir }, text: `${countText(report.rows, 'row')} restored into ${dir}` }
    },
  },
]

async function* pieces(call: Call): AsyncGenerator<Uint8Array, void, void> {
  const client = call.client()
  const response = await client.open('GET', '/v1/backup', { signal: call.stop })
  let sizeBytes = 0
  let shown = 0
  try {
    for await (const piece of response as AsyncIterable<Buffer>) {
      yield piece
      sizeBytes += piece.length
      if (sizeBytes - shown > 1_000_000) {
        shown = sizeBytes
        call.screen.progress(`${sizeText(sizeBytes)} …`)
      }
    }
  } catch (error) {
    const why = call.stop.aborted ? 'the backup was stopped' : `the node at ${client.node} broke it off`
    throw new OutOfReach('unreachable', `${why}: ${(error as Error).message}`, 'No file was made. Try again.')
  }
}
