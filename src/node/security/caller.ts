/** Who asks, and what he may. Every service call takes a caller, and asks him first. */
import { SkeinError } from '../../base/errors.ts'

/** `admin` is for spaces and the node itself; it does not include the others. */
export const rights = ['read', 'write', 'resolve', 'admin'] as const
export type Right = (typeof rights)[number]

export interface Grant {
  /** A space, or `*` for all. */
  readonly space: string
  /** Keys under this prefix only. */
  readonly prefix: string
  readonly rights: readonly Right[]
}

export interface Caller {
  /** For limits and logs: the token's id, or where the request came from. */
  readonly id: string
  /** The agent that its writes are attributed to; undefined leaves it to the request. */
  readonly agent: string | undefined
  /** Undefined: everything. */
  readonly grants: readonly Grant[] | undefined
}

/** Whoever is let in without a token: on this host, or at the node's own socket. */
export function trusted(id: string): Caller {
  return { id, agent: undefined, grants: undefined }
}

export function may(caller: Caller, right: Right, space: string, key: string = ''): boolean {
  return (
    caller.grants === undefined ||
    caller.grants.some(
      (grant) =>
        grant.rights.includes(right) && (grant.space === '*' || grant.space === space) && key.startsWith(grant.prefix),
    )
  )
}

/** May it do this anywhere? For what belongs to no space. */
export function mayAnywhere(caller: Caller, right: Right): boolean {
  return caller.grants === undefined || caller.grants.some((grant) => grant.rights.includes(right))
}

/** Any of the keys of a space will do: for what is about the space and is no key. */
export function mustSomewhere(caller: Caller, right: Right, space: string): void {
  const isGranted = caller.grants?.some(
    (grant) => grant.rights.includes(right) && (grant.space === '*' || grant.space === space),
  )
  if (isGranted !== false) return
  throw new SkeinError('forbidden', `this token has no right to ${right} space ${space}`, { right, space })
}

/** For a range of keys: the whole range must be allowed. */
export function must(caller: Caller, right: Right, space: string, key: string = ''): void {
  if (may(caller, right, space, key)) return
  const where = key === '' ? `space ${space}` : `${key} in space ${space}`
  throw new SkeinError('forbidden', `this token has no right to ${right} ${where}`, { right, space })
}

/** For the node itself, over all spaces. */
export function mustEverywhere(caller: Caller, right: Right): void {
  const all = caller.grants?.some(
    ({ space, prefix, rights: own }) => space === '*' && prefix === '' && own.includes(right),
  )
  if (all === false) throw new SkeinError('forbidden', `this token has no right to ${right} the node`, { right })
}

/** Whose name a write bears: a token says it, and nothing else may. */
export function agentOf(caller: Caller, asked: string | undefined): string | undefined {
  if (caller.agent === undefined || asked === undefined || asked === caller.agent) return caller.agent ?? asked
  throw new SkeinError('forbidden', `this token writes as ${caller.agent}, not as ${asked}`, { agent: caller.agent })
}
