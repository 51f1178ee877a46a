/** The audit of a node: what `log --audit` and `verify --audit` tell. */
import type { AuditLine, AuditReport } from '../../replica/audit.ts'
import type { Answer, Call } from '../command.ts'
import { whole } from '../command.ts'
import { short } from '../conflict-screen.ts'
import { countText } from '../screen.ts'

/** As much of a hash as two people compare. */
const shownHash = 12

export async function auditLog(call: Call): Promise<Answer> {
  const [space] = call.args
  const lines: AuditLine[] = []
  let after: number | undefined = 0
  do {
    const query: Record<string, string | number | undefined> = { space, after, limit: 1000 }
    const page = (await call.client().get('/v1/audit', { query })) as {
      readonly lines: readonly AuditLine[]
      readonly after?: number
    }
    lines.push(...page.lines)
    after = page.after
  } while (after !== undefined)
  const limit = call.text('limit')
  const shown = limit === undefined ? lines : lines.slice(-whole(limit, '--limit'))
  const rows = shown.map(({ number, at, what, space: where, id, rule, agent, reason = '', hash }) => [
    String(number),
    new Date(at).toISOString(),
    what,
    where,
    short(id),
    rule,
    agent,
    reason,
    hash.slice(0, shownHash),
  ])
  const columns = ['line', 'at', 'what', 'space', 'conflict', 'rule', 'agent', 'reason', 'hash']
  return { data: shown, text: { columns, rows, none: 'nothing on record' } }
}

export async function auditProof(call: Call): Promise<Answer> {
  const report = (await call.client().get('/v1/audit/verify')) as AuditReport
  const { isIntact, lines, broken, first, last } = report
  const text = isIntact
    ? `${countText(lines, 'line')} from line ${first} on, none changed, left out or put in; the last hash is ${last}`
    : `line ${broken?.number ?? '?'} is not as it was written: ${broken?.why ?? ''}`
  return { data: report, text, yes: isIntact }
}
