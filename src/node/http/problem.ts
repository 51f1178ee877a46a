/**
 * Errors as HTTP tells them: problem details (RFC 9457) with the stable code of the one registry. Which status a code
 * has stands here, and nowhere else.
 */
import { SkeinError, errorTable } from '../../base/errors.ts'
import type { ErrorCode } from '../../base/errors.ts'

/** What HTTP answers, by code. A code that is not here is a failure of the server: 500, or 503 where a retry may help. */
export const statusOf: Readonly<Partial<Record<ErrorCode, number>>> = {
  invalid_argument: 400,
  invalid_key: 400,
  invalid_value: 400,
  reserved_name: 400,
  too_deep: 400,
  unknown_type: 400,
  document_invalid: 400,
  invalid_token: 400,
  unauthenticated: 401,
  forbidden: 403,
  origin_refused: 403,
  not_found: 404,
  unknown_conflict: 404,
  type_mismatch: 409,
  counter_overflow: 409,
  budget_exceeded: 409,
  budget_not_deletable: 409,
  unknown_reservation: 409,
  claim_held: 409,
  stale_fence: 409,
  out_of_range: 409,
  conflict_settled: 409,
  entry_held: 409,
  rules_superseded: 409,
  space_deleted: 410,
  version_mismatch: 412,
  not_entitled: 403,
  conflict_changed: 412,
  too_large: 413,
  unsupported_media: 415,
  host_refused: 421,
  idempotency_conflict: 422,
  schema_violation: 422,
  rate_limited: 429,
  store_damaged: 500,
  behind: 503,
  busy: 503,
  closed: 503,
  store_failed: 503,
  store_full: 507,
}

export interface Problem {
  /** Where the code is explained. */
  readonly type: string
  /** What the code means, the same for each of its errors. */
  readonly title: string
  readonly status: number
  /** What happened this time. */
  readonly detail: string
  readonly code: string
  /** What happened to the state. */
  readonly state: string
  /** May the very same request succeed later? */
  readonly retryable: boolean
  /** What to do. */
  readonly action: string
  /** More about this case, for machines. */
  readonly details?: Readonly<Record<string, unknown>>
}

export function problemOf(error: unknown): Problem {
  if (!(error instanceof SkeinError)) return internal
  const { meaning, state, retry, action } = errorTable[error.code]
  const details = Object.keys(error.details).length > 0 ? { details: error.details } : {}
  return {
    type: `urn:skein:error:${error.code}`,
    title: meaning,
    status: statusOf[error.code] ?? (retry ? 503 : 500),
    detail: error.message,
    code: error.code,
    state,
    retryable: retry,
    action,
    ...details,
  }
}

/** A bug. What it says stays inside: it may hold anything. */
const internal: Problem = {
  type: 'urn:skein:error:internal',
  title: 'The server failed in a way that nobody foresaw.',
  status: 500,
  detail: 'The cause is in the log of the node.',
  code: 'internal',
  state: 'unknown',
  retryable: false,
  action: 'Please report it, with what the node logged.',
}
