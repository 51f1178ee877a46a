/** Examines a data directory without a node, and repairs what can be repaired without losing anything. */
import type { Answer, Call, Cell, Command, Tone } from '../command.ts'
import { OutOfReach } from '../command.ts'
import { program } from '../program.ts'
import { countText, sizeText } from '../screen.ts'

interface Finding {
  readonly what: string
  readonly verdict: 'well' | 'repaired' | 'careful' | 'damaged'
  readonly said: string
}

const tones: Readonly<Record<Finding['verdict'], Tone>> = {
  well: 'good',
  repaired: 'doubtful',
  careful: 'doubtful',
  damaged: 'bad',
}

export const doctorCommand: Command = {
  name: 'doctor',
  says: 'examine a data directory without a node, and repair what can be repaired safely',
  more: 'Reads every row, file and entry. Opening repairs what a crash leaves; what is damaged is told and left as it is, unless --set-aside moves the directory away, whole, so that a node can start empty and fetch everything from its peers. Exits with 1 when something is damaged.',
  options: {
    dir: { takes: 'DIR', help: 'The data directory (skein-data).' },
    'set-aside': { help: 'Move a damaged directory aside. Nothing is deleted.' },
  },
  examples: ['skein doctor --dir /var/lib/skein'],
  local: true,
  run: examine,
}

async function examine(call: Call): Promise<Answer> {
  const dir = call.text('dir') ?? 'skein-data'
  // They bring the whole node along: loaded only when somebody asks for them.
  const [
    { existsSync, rmSync },
    { SkeinError },
    { openNode },
    { openLevelStore },
    { ownerOf, dropOwner },
    { openingLines },
  ] = await Promise.all([
    import('node:fs'),
    import('../../base/errors.ts'),
    import('../../open.ts'),
    import('../../store/level.ts'),
    import('../../node/data-dir.ts'),
    import('../up.ts'),
  ])
  if (!existsSync(dir)) throw new OutOfReach('store_foreign', `there is no directory ${dir}`, 'Say which with --dir.')
  const findings: Finding[] = []
  const found = (what: string, verdict: Finding['verdict'], said: string): void => {
    findings.push({ what, verdict, said })
  }
  try {
    const store = await openLevelStore({ dir, onDamage: call.has('set-aside') ? 'set-aside' : 'refuse' })
    {
      await using _ = store
      const { opening } = store
      const lines = openingLines(opening)
      found(
        'opening',
        lines.length === 0 ? 'well' : opening.setAside === undefined ? 'careful' : 'repaired',
        lines.join('; ') || opening.found,
      )
      const report = await store.scrub({
        signal: call.stop,
        onProgress: ({ rows, sizeBytes }) => call.screen.progress(`${rows} rows, ${sizeText(sizeBytes)} …`),
      })
      for (const { file, what } of report.damages) found('bytes', 'damaged', `${file ?? 'a row'}: ${what}`)
      if (report.damages.length === 0) {
        found(
          'bytes',
          'well',
          `${countText(report.rows, 'row')} and ${countText(report.files, 'file')} are as they were written`,
        )
      }
    }
    // Whoever was killed leaves its note and its socket; the lock that we hold says that nobody has the directory open.
    const owner = ownerOf(dir)
    if (owner !== undefined) {
      dropOwner(dir)
      rmSync(`${dir}/node.sock`, { force: true })
      found('note', 'repaired', `process ${owner.pid} is gone and had left its note`)
    }
    await using node = await openNode({ dir, agent: 'doctor' })
    for (const { name, entries } of node.status().spaces) {
      let read = 0
      try {
        for await (const _ of node.space(name).entries())
          if (++read % 1000 === 0) call.screen.progress(`${name}: ${read} …`)
        const isWhole = read === entries
        found(
          `space ${name}`,
          isWhole ? 'well' : 'careful',
          isWhole ? countText(entries, 'entry', 'entries') : `${read} entries can be shown of ${entries}`,
        )
      } catch (error) {
        if (!(error instanceof SkeinError)) throw error
        found(`space ${name}`, 'damaged', `${error.message} (after ${countText(read, 'entry', 'entries')})`)
      }
    }
  } catch (error) {
    if (!(error instanceof SkeinError) || error.code !== 'store_damaged') throw lockedBy(error, ownerOf(dir))
    found('directory', 'damaged', `${error.message} ${error.hint}`)
  }
  const rows = findings.map(({ what, verdict, said }): Cell[] => [what, { text: verdict, tone: tones[verdict] }, said])
  const isWell = findings.every(({ verdict }) => verdict !== 'damaged')
  return {
    data: { dir, well: isWell, findings },
    text: { columns: ['what', 'is', ''], rows, none: '' },
    yes: isWell,
  }
}

function lockedBy(error: unknown, owner: { readonly pid: number } | undefined): unknown {
  const isLocked = error instanceof Error && 'code' in error && error.code === 'store_locked'
  if (!isLocked || owner === undefined) return error
  return new OutOfReach(
    'store_locked',
    `process ${owner.pid} has it open`,
    `Ask that node with \`${program} status\`, or stop it first.`,
  )
}
