/** Opens a directory that a crash left, looks at everything in it twice, and says what is wrong. */
import { openNode, SkeinError } from '../../src/index.ts'
import type { SkeinNode } from '../../src/index.ts'
import type { Row } from '../../src/base/rows.ts'
import type { OpeningReport } from '../../src/store/store.ts'
import { Findings } from './findings.ts'
import type { Finding } from './findings.ts'
import type { Item, Ledger, Settlement } from './ledger.ts'
import { rebuild } from './rebuild.ts'
import type { Memory } from './rebuild.ts'
import { Model } from './workload.ts'

/** Every row of one moment. */
export async function rowsOf(node: SkeinNode): Promise<Row[]> {
  const rows: Row[] = []
  for await (const page of (await node.rows()).range({ gte: Uint8Array.of(0), lt: Uint8Array.of(0xff) }))
    rows.push(...page)
  return rows
}

export interface Look {
  readonly dir: string
  readonly ledger: Ledger
  /** Remembered over the lives of a directory; a derived state has none. */
  readonly memory?: Memory
  readonly isAcknowledged?: (item: Item) => boolean
  readonly count?: number
}

export interface Inspection {
  readonly findings: readonly Finding[]
  readonly settlement: Settlement | undefined
  /** The error with which it could not be opened or read. */
  readonly error: SkeinError | undefined
  readonly opening: OpeningReport | undefined
}

/** Every check over a directory as it stands. Opening it is the first of them. */
export async function inspect(look: Look): Promise<Inspection> {
  let node: SkeinNode
  try {
    node = await openNode({ dir: look.dir, cacheBytes: 64 * 1024 })
  } catch (error) {
    return { findings: [failure('opening', error)], settlement: undefined, error: ours(error), opening: undefined }
  }
  try {
    return await examine(node, look)
  } finally {
    await node.close()
  }
}

/** The same for a node that is open. */
export async function examine(node: SkeinNode, look: Omit<Look, 'dir'>): Promise<Inspection> {
  const findings = new Findings()
  let settlement: Settlement | undefined
  let error: SkeinError | undefined
  const { opening } = node.status()
  try {
    findings.addAll(look.memory?.incarnation(node.status().origin) ?? [])
    const picture = rebuild(await rowsOf(node), look.memory)
    findings.addAll(picture.findings)
    findings.addAll(look.memory?.meet(picture) ?? [])
    settlement = look.ledger.settle(picture, look.isAcknowledged, look.count)
    findings.addAll(settlement.findings)
    findings.addAll(await settlement.model.compare(node))
    findings.addAll(fencesOf(node, look))
  } catch (thrown) {
    error = ours(thrown)
    findings.addAll([failure('reading', thrown)])
  }
  return { findings: findings.list, settlement, error, opening }
}

/** An error of ours is an answer; anything else is a bug that would have ended the process. */
export function failure(when: string, error: unknown): Finding {
  if (error instanceof SkeinError) return { rule: 'refused', what: `${when}: ${error.code}: ${error.message}` }
  return { rule: 'died', what: `${when}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}` }
}

function ours(error: unknown): SkeinError | undefined {
  return error instanceof SkeinError ? error : undefined
}

function fencesOf(node: SkeinNode, { ledger, memory, isAcknowledged, count }: Omit<Look, 'dir'>): readonly Finding[] {
  const findings = new Findings()
  if (memory === undefined) return []
  for (const item of ledger.items.slice(0, count)) {
    const { operation, outcome, acknowledged } = item
    if (operation.kind !== 'write' || outcome?.results === undefined) continue
    if (!(isAcknowledged?.(item) ?? acknowledged)) continue
    for (const [at, part] of operation.parts.entries()) {
      if (part.kind !== 'acquire') continue
      const { fence } = outcome.results[at] as { fence: number }
      findings.addAll(memory.fence(`${operation.space}#${outcome.generation} ${part.key}`, fence))
    }
  }
  for (const [where, fence] of Model.fences(node)) findings.addAll(memory.fence(where, fence))
  return findings.list
}
