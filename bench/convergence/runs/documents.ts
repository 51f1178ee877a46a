/** Documents: one node types while the others read along; then all set fields of one JSON document in turn. */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { prng } from '../../../src/base/prng.ts'
import { nowUs } from '../clock.ts'
import type { Keys } from '../control.ts'
import { edited, edits } from '../edits.ts'
import { Fleet } from '../fleet.ts'
import { lagOf, takenFigures } from '../sample.ts'
import type { Course, DocumentsRun, Result } from '../scenario.ts'
import { paced, soonUs, whenQuiet } from '../stage.ts'

const phase = 1
const seed = 1
const lookMs = 5

export async function documents({ contestant, run, withinMs, progress }: Course<DocumentsRun>): Promise<Result[]> {
  const { nodes, count, rate, writes, valueBytes } = run
  await using fleet = await Fleet.open(contestant, { nodes })
  const results: Result[] = []

  await fleet.all('follow', {})
  progress('text')
  const expected = createHash('sha256')
    .update(edited(edits(count, prng(seed))))
    .digest('hex')
  const before = await fleet.taken()
  const startUs = soonUs()
  const typing = fleet.member(0).ask('type', { count, seed, startUs })
  const thereUs = await Promise.all(fleet.members.map((member) => typed(member, expected, withinMs)))
  await typing
  const typedFigures = takenFigures(before, await fleet.taken(), count)
  results.push({
    setting: `text, ${count.toLocaleString('en')} edits`,
    figures: { rate: count / ((Math.max(...thereUs) - startUs) / 1e6), ...typedFigures },
  })

  progress('JSON')
  const keys: Keys = { of: 'own', name: 'agent', count: 30 }
  const set = { phase, keys, valueBytes, rate, writes, exactly: true, isJson: true }
  const start = await fleet.taken()
  const done = await paced(fleet.members, { ...set, firstUs: soonUs() })
  await whenQuiet(fleet.members, phase, withinMs)
  const lags = lagOf(await fleet.all('arrived', { phase }), done.writes * (nodes - 1))
  const taken = takenFigures(start, await fleet.taken(), done.writes)
  results.push({ ...lags, setting: `JSON, ${rate} edits a second`, figures: { ...lags.figures, ...taken } })
  return results
}

async function typed(member: Fleet['members'][number], expected: string, withinMs: number): Promise<number> {
  const endUs = nowUs() + 1000 * withinMs
  for (;;) {
    const { digest, length } = await member.ask('text', {})
    const atUs = nowUs()
    if (digest === expected) return atUs
    if (atUs > endUs)
      throw new Error(`${member.name} shows another text of ${length} characters after ${withinMs / 1000} s`)
    await sleep(lookMs)
  }
}
