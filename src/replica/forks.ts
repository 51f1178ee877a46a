/**
 * Forks: two histories under the name of one origin, because the memory of a running node was cloned or a peer lies. What
 * two replicas know of an origin that they both hold, and what follows from it; docs/decisions/sync.md, 10 to 15, has the
 * rules, and test/model plays them through. Nothing here changes anything.
 */
import { compareBytes, equalBytes } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import { linkBytes } from '../crdt/delta.ts'
import type { OriginId } from '../crdt/dot.ts'
import type { ChainHead, Fork, Head, LinkRun } from '../wire/frame.ts'
import type { OriginLog } from './log.ts'
import { chainBytes } from './space.ts'
import type { Space } from './space.ts'

/**
 * What to do about an origin after a peer told where it stands.
 * `none`: nothing is known to differ. `take`: it is closed there, exactly where it is here. `close`: this side is the better.
 * `ask`: so it is, but where they part is not known yet. `wait`: the other side is the better, and will close it. `tell`:
 * the other side does not know that it is closed here. `astray`: it is closed there, and here is another history.
 */
export type Meeting =
  | { readonly kind: 'none' | 'ask' | 'wait' | 'tell' | 'astray' }
  | { readonly kind: 'take' | 'close'; readonly fork: Fork }

const nothing: Meeting = { kind: 'none' }

/** The first bytes of the chain of a head. */
function linkOfHead({ chain }: ChainHead): Uint8Array {
  return chain.subarray(0, linkBytes)
}

function linkTold(log: OriginLog, head: ChainHead, run: LinkRun | undefined, seq: number): Uint8Array | undefined {
  if (seq === head.seq) return linkOfHead(head)
  // All chains of an origin start alike.
  if (seq === 0) return log.linkAt(0)
  if (run === undefined || seq < run.from) return undefined
  const at = linkBytes * (seq - run.from)
  return at < run.links.length ? run.links.subarray(at, at + linkBytes) : undefined
}

/** `run`: what they told of the chain before their head. */
export function meet(space: Space, head: ChainHead, run: LinkRun | undefined): Meeting {
  const log = space.logs.get(head.origin)
  if (log === undefined || log.seq === 0) return nothing
  const { seq, fork } = log
  const chain = chainBytes(log.chain)
  const order = seq === head.seq ? compareBytes(chain, head.chain) : seq - head.seq
  if (order === 0) {
    if (head.fork !== undefined && fork === undefined) return { kind: 'take', fork: head.fork }
    return fork !== undefined && head.fork === undefined ? { kind: 'tell' } : nothing
  }
  if (fork !== undefined && head.fork !== undefined) return { kind: order > 0 ? 'tell' : 'astray' }
  if (head.fork !== undefined) return isAstray(log, head, run) ? { kind: 'astray' } : nothing
  const common = Math.min(seq, head.seq)
  const [here, there] = [log.linkAt(common), linkTold(log, head, run, common)]
  const differs = here !== undefined && there !== undefined && !equalBytes(here, there)
  if (fork !== undefined) return differs || head.seq > seq || here === undefined ? { kind: 'tell' } : nothing
  if (!differs) return nothing
  if (order < 0) return { kind: 'wait' }
  return run === undefined ? { kind: 'ask' } : { kind: 'close', fork: parting(log, head, run) }
}

/** The other has closed the origin. Whoever cannot show the chain that stands there does not have it. */
function isAstray(log: OriginLog, head: ChainHead, run: LinkRun | undefined): boolean {
  const { seq, at, link } = head.fork as Fork
  if (log.seq > head.seq) return true
  if (log.seq >= at) {
    const here = log.linkAt(at)
    return here === undefined || !equalBytes(here, link)
  }
  if (log.seq < seq) return false
  const there = linkTold(log, head, run, log.seq)
  return there === undefined || !equalBytes(there, log.linkAt(log.seq) as Uint8Array)
}

/** Where two histories part, by what both can show; the one here stands. */
function parting(log: OriginLog, head: ChainHead, run: LinkRun): Fork {
  let same = 0
  for (let at = run.from; at < head.seq && at <= log.seq; at++) {
    const [here, there] = [log.linkAt(at), linkTold(log, head, run, at)]
    if (here === undefined || there === undefined) continue
    if (!equalBytes(here, there)) return { seq: same + 1, at, link: here }
    same = at
  }
  const at = Math.min(head.seq, log.seq)
  return { seq: same + 1, at, link: log.linkAt(at) as Uint8Array }
}

/** What an offer told of the chain before a head. */
export function runBefore({ origin, seq, links }: Head): LinkRun | undefined {
  return links && { origin, from: seq - links.length / linkBytes, links }
}

/** The chain of an origin up to a sequence, as far as the log tells and a frame should hold. */
export function linksOf(space: Space, origin: OriginId, upTo: number, most: number = limits.forkLinks): LinkRun {
  const log = space.log(origin)
  const last = Math.min(upTo, log.seq)
  const links: Uint8Array[] = []
  let from = last + 1
  while (from > 1 && links.length < most) {
    const link = log.linkAt(from - 1)
    if (link === undefined) break
    links.push(link)
    from--
  }
  const bytes = new Uint8Array(linkBytes * links.length)
  for (const [at, link] of links.toReversed().entries()) bytes.set(link, linkBytes * at)
  return { origin, from: Math.max(1, from), links: bytes }
}
