/**
 * The registry of errors. An error says what happened to the state and who should act; every code below has a row in
 * docs/ERRORS.md, and a test holds the two together. Programmer errors are assertions (see assert.ts), never codes.
 */

interface ErrorFacts {
  /** What it means, in one sentence. */
  readonly meaning: string
  /** What happened to the state: nearly always "unchanged". */
  readonly state: string
  /** May the very same call succeed later? */
  readonly retry: boolean
  /** What the reader of the message should do. */
  readonly action: string
}

export const errorTable = {
  invalid_argument: {
    meaning: 'An argument is missing, of the wrong kind or out of its range.',
    state: 'unchanged',
    retry: false,
    action: 'Correct the call; the message names the argument.',
  },
  invalid_key: {
    meaning: 'An entry key, space name or agent name is empty, too long, or not well-formed Unicode.',
    state: 'unchanged',
    retry: false,
    action: 'Use another name; docs/LIMITS.md has the lengths.',
  },
  invalid_value: {
    meaning: 'A value has no canonical form: NaN, an infinity, a lone surrogate, a function, a hole in an array.',
    state: 'unchanged',
    retry: false,
    action: 'Send JSON data; the message names the path.',
  },
  reserved_name: {
    meaning: 'A field is called `__proto__`, which JavaScript objects cannot hold safely.',
    state: 'unchanged',
    retry: false,
    action: 'Rename the field.',
  },
  too_large: {
    meaning: 'A key, a value, a delta or a collection is over its limit.',
    state: 'unchanged',
    retry: false,
    action: 'Split it; docs/LIMITS.md has the limits.',
  },
  too_deep: {
    meaning: 'A value is nested deeper than the limit.',
    state: 'unchanged',
    retry: false,
    action: 'Flatten it; docs/LIMITS.md has the limit.',
  },
  unknown_type: {
    meaning: 'There is no CRDT type or operation of that name.',
    state: 'unchanged',
    retry: false,
    action: 'Use one that the message lists.',
  },
  type_mismatch: {
    meaning: 'The entry is alive with another type.',
    state: 'unchanged',
    retry: false,
    action: 'Delete the entry first, or use another key.',
  },
  schema_violation: {
    meaning: "A local write would leave the entry outside the space's schema.",
    state: 'unchanged',
    retry: false,
    action: 'Correct the value at the path that the message names.',
  },
  counter_overflow: {
    meaning: 'A counter or budget would leave the exact integers (2^53 - 1).',
    state: 'unchanged',
    retry: false,
    action: 'Use smaller units of account.',
  },
  budget_exceeded: {
    meaning: 'This node does not hold the rights for that amount.',
    state: 'unchanged',
    retry: true,
    action: 'Spend less, grant more, or have rights transferred to this node.',
  },
  unknown_reservation: {
    meaning: 'No open reservation has that id here: it was settled, refunded or made elsewhere.',
    state: 'unchanged',
    retry: false,
    action: 'Settle where it was reserved; a reservation is settled once.',
  },
  budget_not_deletable: {
    meaning: 'A budget is not deleted: what was spent stays on record.',
    state: 'unchanged',
    retry: false,
    action: 'Revoke what is left of it.',
  },
  claim_held: {
    meaning: 'Another agent holds the claim and it has not expired.',
    state: 'unchanged',
    retry: true,
    action: 'Wait until it is released or expires.',
  },
  stale_fence: {
    meaning: 'The fence given is not the one of the live claim: it was lost to another holder.',
    state: 'unchanged',
    retry: false,
    action: 'Stop the work that the claim covered and acquire anew.',
  },
  out_of_range: {
    meaning: 'A position is outside the list or text.',
    state: 'unchanged',
    retry: false,
    action: 'Read the length first; another writer may have changed it.',
  },
  document_invalid: {
    meaning: 'The bytes are no well-formed Yjs update (V1) or Automerge change, or claim more than they hold.',
    state: 'unchanged',
    retry: false,
    action: 'Send the bytes that the library produced; Yjs updates in format V1.',
  },
  nested_transaction: {
    meaning: 'transact was called inside transact of the same node.',
    state: 'unchanged',
    retry: false,
    action: 'Do it in one transaction, or one after the other.',
  },
  space_deleted: {
    meaning: 'The handle belongs to a generation of the space that was deleted.',
    state: 'unchanged',
    retry: false,
    action: 'Ask the node for the space again; that opens its new generation.',
  },
  busy: {
    meaning: 'More waits for the disk, or in a client for its node, than the bound allows.',
    state: 'unchanged',
    retry: true,
    action: 'Await `durable` of an earlier write, then try again.',
  },
  closed: {
    meaning: 'The node, or the client that was asked, is closed or closing.',
    state: 'what was acknowledged as durable is kept; what still waited for the disk may be lost',
    retry: false,
    action: 'Open the node again.',
  },
  store_full: {
    meaning: 'The disk refused a write. Writes that returned are kept in memory and retried; reads go on.',
    state: 'unchanged',
    retry: true,
    action: 'Free space on the disk; the node recovers by itself.',
  },
  store_locked: {
    meaning: 'Another process has this data directory open.',
    state: 'unchanged',
    retry: true,
    action: 'Stop the other process, or use another directory.',
  },
  store_permission: {
    meaning: 'The data directory cannot be made, read or written by this user.',
    state: 'unchanged',
    retry: false,
    action: 'Correct the permissions or choose another directory.',
  },
  store_newer: {
    meaning: 'The data directory was written by a newer version of Skein.',
    state: 'unchanged',
    retry: false,
    action: 'Run that version or a later one; nothing was overwritten.',
  },
  store_foreign: {
    meaning: 'The directory holds something that is not a Skein store.',
    state: 'unchanged',
    retry: false,
    action: 'Choose another directory; nothing was overwritten.',
  },
  store_damaged: {
    meaning: 'Bytes on the disk are not those that were written; the message names the range that may be lost.',
    state: 'nothing was overwritten',
    retry: false,
    action: 'Open with `onDamage: "set-aside"` to move the directory aside and start empty, or restore a backup.',
  },
  store_failed: {
    meaning: 'The storage engine failed for a reason of its own; the cause is attached.',
    state: 'writes that returned are kept in memory and retried',
    retry: true,
    action: 'Look at the cause; reopen the node if it stays.',
  },
  backup_invalid: {
    meaning: 'The file is no Skein backup, is cut short, or its checksum is wrong.',
    state: 'nothing was restored',
    retry: false,
    action: 'Use another backup.',
  },
  file_failed: {
    meaning: 'A file that was named cannot be read or written; the cause is attached.',
    state: 'unchanged',
    retry: true,
    action: 'Look at the path and its permissions.',
  },
  target_exists: {
    meaning: 'The target of a backup or restore exists already.',
    state: 'unchanged',
    retry: false,
    action: 'Choose a path that does not exist yet; nothing is ever overwritten.',
  },
  malformed: {
    meaning: 'Bytes are not in the canonical form.',
    state: 'unchanged',
    retry: false,
    action: 'Report it: bytes of this kind come from a damaged file, a faulty peer or another program.',
  },
  invalid_token: {
    meaning: 'The token is not one that this version of Skein gave out, or belongs to another space.',
    state: 'unchanged',
    retry: false,
    action: 'Start without a token, and keep the ones you are given.',
  },
  invalid_address: {
    meaning: 'The text is no address that a transport here can listen at or dial.',
    state: 'unchanged',
    retry: false,
    action: 'Give one like `ws://host:7400` or `/ip4/10.0.0.1/tcp/7400`; the message says what is wrong with it.',
  },
  address_in_use: {
    meaning: 'Something else listens at that address already.',
    state: 'unchanged',
    retry: true,
    action: 'Stop the other process, or listen at another port.',
  },
  address_unavailable: {
    meaning: 'This host cannot listen at that address: it is not its own, or the port is not allowed.',
    state: 'unchanged',
    retry: false,
    action: 'Choose an address of this host and a port that this user may open.',
  },
  transport_missing: {
    meaning: 'An address or a setting asks for a transport whose packages are not installed.',
    state: 'unchanged',
    retry: false,
    action: 'Install the package whole, with its dependencies, or use `ws://` addresses.',
  },
  fleet_key_needed: {
    meaning: 'Without a fleet key a node listens at and dials loopback addresses only.',
    state: 'unchanged',
    retry: false,
    action: 'Make a fleet key and give it to every node of the fleet, or use a loopback address.',
  },
  fleet_key_invalid: {
    meaning: 'The text is no fleet key: it was cut, changed, or is something else.',
    state: 'unchanged',
    retry: false,
    action: 'Copy the key whole; it starts with `skf1_`.',
  },
  identity_damaged: {
    meaning: 'The identity key in the data directory cannot be read, or is not what was written.',
    state: 'nothing was overwritten',
    retry: false,
    action: 'Restore the file from where it was copied to; without it the node can only come back as another node.',
  },
  peer_unreachable: {
    meaning: 'Nobody answered at that address within the time.',
    state: 'unchanged',
    retry: true,
    action: 'Look whether the node runs there; a node dials again by itself.',
  },
  peer_refused: {
    meaning: 'The other end ended the connection before it was set up: another fleet key, full, or no Skein node.',
    state: 'unchanged',
    retry: true,
    action: 'Compare the fleet keys; the log of the other node has its reason, which it does not tell strangers.',
  },
  peer_unproven: {
    meaning:
      'The other end did not prove that it knows a fleet key of ours and owns its identity, or its certificate is bad.',
    state: 'unchanged',
    retry: true,
    action: 'Look who answers at that address; nothing was told to it.',
  },
  peer_protocol: {
    meaning: 'The other end sent what is not the protocol of links: garbage, a message over the limit, a broken seal.',
    state: 'unchanged; the link was closed',
    retry: true,
    action: 'Nothing, where it is rare: the node dials again. Where it is not, look what stands between the two.',
  },
  peer_slow: {
    meaning: 'The other end does not read: more bytes wait for it than the bound allows.',
    state: 'unchanged; the link was closed, and the peer catches up later',
    retry: true,
    action: 'Look at the load of that node and the network to it.',
  },
  peer_lost: {
    meaning: 'The other end went without a word, or is silent though it should answer.',
    state: 'unchanged; the link was closed',
    retry: true,
    action: 'Nothing: the node dials again.',
  },
  not_reached: {
    meaning:
      'Not as many members as were asked for have confirmed it within the time; the message names who is behind.',
    state: 'unchanged: what was written here stands, and goes on being sent',
    retry: true,
    action: 'Wait longer, or look at the members that are named.',
  },
  aborted: {
    meaning: 'The caller gave the operation up.',
    state: 'unchanged',
    retry: true,
    action: 'Nothing.',
  },
  unauthenticated: {
    meaning: 'The request carries no agent token, or one that this node does not know.',
    state: 'unchanged',
    retry: false,
    action: 'Send `Authorization: Bearer skt1_...` with a token that was made at this node and not revoked.',
  },
  forbidden: {
    meaning: 'The token does not allow this here.',
    state: 'unchanged',
    retry: false,
    action: 'Ask for a token with that right for the space and the prefix; the message names them.',
  },
  host_refused: {
    meaning:
      'The Host header names somebody else: a web page that was led to this address, or a name nobody configured.',
    state: 'unchanged',
    retry: false,
    action: 'Use a loopback name, or configure the name of this host.',
  },
  origin_refused: {
    meaning: 'The request comes from a web page, and its origin is not configured.',
    state: 'unchanged',
    retry: false,
    action: 'Configure the origin, or let the page talk to a server of yours.',
  },
  not_found: {
    meaning: 'There is no such route, space or entry on this node.',
    state: 'unchanged',
    retry: false,
    action: 'Check the name; what was just written elsewhere may still be on its way.',
  },
  version_mismatch: {
    meaning: 'The entry is not, or no longer, at the version that the request is conditional on.',
    state: 'unchanged',
    retry: false,
    action: 'Read the entry again and decide anew; `version` in the answer is the present one.',
  },
  idempotency_conflict: {
    meaning: 'The Idempotency-Key was used before, for another request.',
    state: 'unchanged',
    retry: false,
    action: 'Use a fresh key for each new request, and the same one only to repeat it.',
  },
  rate_limited: {
    meaning: 'The caller sends more requests, or holds more streams open, than the bound allows.',
    state: 'unchanged',
    retry: true,
    action: 'Wait as long as Retry-After says; batch writes with transact, or use the stream.',
  },
  unsupported_media: {
    meaning: 'The body is not JSON, or does not say that it is.',
    state: 'unchanged',
    retry: false,
    action: 'Send `Content-Type: application/json`.',
  },
  listen_failed: {
    meaning: 'The address to listen on is taken, not of this host, or not allowed.',
    state: 'unchanged',
    retry: true,
    action: 'Stop whoever has it, or choose another address.',
  },
  unanswered: {
    meaning:
      'A write was sent and its answer never came: its caller gave up, the client was closed, or another node answers there now.',
    state: 'unknown: the write was applied once, or not at all',
    retry: false,
    action: 'Read what it would have changed, then decide.',
  },
  behind: {
    meaning: 'This node has not yet applied what the token names.',
    state: 'unchanged',
    retry: true,
    action: 'Wait longer, or ask the node that wrote it.',
  },
  unknown_conflict: {
    meaning: 'There is no conflict of that id in the space.',
    state: 'unchanged',
    retry: false,
    action: 'List the conflicts; one that others found may still be on its way here.',
  },
  conflict_settled: {
    meaning: 'The conflict was settled already.',
    state: 'unchanged',
    retry: false,
    action: 'Read the decision; a new one is possible once a branch opens it again.',
  },
  rule_suspended: {
    meaning: "A rule's own function threw, did not end in time or gave no answer: it is not asked again.",
    state: 'applied, but for what the rule would have found',
    retry: false,
    action: 'Mend the function, register it under a higher version, and declare the rules with that.',
  },
  entry_held: {
    meaning: 'An open conflict holds the entry: nothing is written to it here until that is settled.',
    state: 'unchanged',
    retry: false,
    action: 'Settle the conflict that `conflict` names, or wait until somebody has; then write.',
  },
  not_entitled: {
    meaning: 'The rule leaves the decision to a person, and the agent is none of those whom the space names.',
    state: 'unchanged',
    retry: false,
    action: 'Propose it, and let a person decide; or add the agent to `people` of the space.',
  },
  rules_superseded: {
    meaning: 'The space has rules of that version that say something else, or of a higher version.',
    state: 'unchanged',
    retry: false,
    action: 'Read the rules of the space, and declare yours under a higher version if they are to hold.',
  },
  conflict_changed: {
    meaning: 'The conflict has another branch or decision than the revision that was looked at.',
    state: 'unchanged',
    retry: false,
    action: 'Read it again, and decide on what it is now.',
  },
} as const

export type ErrorCode = keyof typeof errorTable

/** Every error that Skein throws on purpose. `code` is stable, the message is for people. */
export class SkeinError extends Error {
  override readonly name: string = 'SkeinError'
  readonly code: ErrorCode
  /** More about this case, for machines: the path, the limit, the range. */
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, details: Readonly<Record<string, unknown>> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.details = details
  }

  get retryable(): boolean {
    return this.#facts.retry
  }

  get hint(): string {
    return this.#facts.action
  }

  get #facts(): ErrorFacts {
    return errorTable[this.code]
  }
}
