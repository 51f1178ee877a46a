/**
 * Every limit in one table; docs/LIMITS.md is held to it by a test. They act where a write is made. A receiver never
 * refuses a delta for its size below the frame, since one refused delta would block its origin for ever.
 */
export const limits = {
  /** UTF-8 bytes of an entry key. A guess: room for a path of ids; rows stay small. */
  keyBytes: 512,
  /** UTF-8 bytes of a space name. */
  spaceNameBytes: 128,
  /** UTF-8 bytes of an agent name. */
  agentBytes: 128,
  /** UTF-8 bytes of a reason. */
  reasonBytes: 1024,
  /** Encoded bytes of one value in a cell. */
  valueBytes: 262_144,
  /** Nesting of a value. JSON parsers and people stop long before. */
  valueDepth: 32,
  /** Encoded bytes of a cell path: a set element or a record path is one. */
  pathBytes: 1024,
  /** Encoded bytes of one delta: it must fit one frame of 1 MiB with its envelope. */
  deltaBytes: 983_040,
  /** Cell writes in one delta. */
  deltaWrites: 10_000,
  /** Spaces of one node. */
  spaces: 1000,
  /** Members that a node keeps in mind, dead ones included; of more it hears nothing. */
  members: 16_384,
  /** Characters of a member's address and of its zone. */
  memberTextLength: 256,
  /** Statements on members that one frame carries; a longer list goes in several. */
  memberStatements: 512,
  /** News of members that ride on a ping or an ack. A guess: some 1.5 KB. */
  memberUpdates: 24,
  /** Probes that a node has in flight for itself and for others. */
  probes: 256,
  /** Writers of a space that have a broadcast tree of their own; the others share one. */
  broadcastTrees: 256,
  /** Origins of a space that a node knows to be ahead elsewhere; beyond, anti-entropy finds them. */
  broadcastMissing: 1024,
  /** Dots in one notice or pull, and writers in one prune. */
  noticeDots: 1024,
  /** Bytes that wait for one peer before they are dropped and it catches up from the log. DESIGN: 1 MiB. */
  peerQueueBytes: 1_048_576,
  /** Bytes of uncommitted rows above which a write throws `busy`, and what peers send is put off. */
  uncommittedBytes: 67_108_864,
  /** Changes that wait for one watcher before it is told of a gap. */
  watchBuffer: 1024,
  /** Encoded size at which the cells of an entry are split into chunks. DESIGN: some 4 KiB, a page. */
  chunkBytes: 4096,
  /** How far away an expiry may be: a hundred years. What is to stay needs none. */
  ttlMs: 3_155_760_000_000,
  /** Deltas that wait, over all spaces of a node, for what they follow. A guess: some seconds of a busy fleet out of order. */
  waitingDeltas: 10_000,
  /** Their bytes. */
  waitingBytes: 16_777_216,
  /** Origins whose chains one frame tells: with leaf sums beside them they fit a packet. */
  chainHeads: 8192,
  /** Forks of a space whose losing deltas are kept as evidence. A guess: each is a fault that somebody is to look at. */
  forkEvidence: 16,
  /** Bytes of losing deltas that are kept of one fork: the first ones tell the most. A guess. */
  forkEvidenceBytes: 262_144,
  /** Chain hashes of one origin told to find where it forked. A guess: tails are short, since peers meet within seconds. */
  forkLinks: 256,
  /** Chain hashes told in one offer of a snapshot, over all its origins. A guess: 64 KiB, and as many reads of a log in one step. */
  offerLinks: 8192,
  /** Pairs of a peer and a space of which it is remembered that it was waited for in vain; the first is forgotten. A guess. */
  silences: 1024,
  /** Structs that one Yjs update may claim, and operations of one Automerge change. */
  documentItems: 200_000,
  /** Bytes of one packet, a message on a link, before and after it is unpacked; so also of one frame. */
  packetBytes: 1_048_576,
  /** Frames in one packet. A guess: a sender gathers a few dozen. */
  packetFrames: 4096,
  /** How many times its own bytes a compressed packet may come to: small bytes must not buy much memory. */
  packedRatio: 64,
  /** Origins that one frame names: with a sequence of any size each they fit a packet. */
  frameOrigins: 32_768,
  /** Deltas in one frame: a packet of them at 64 bytes each. */
  frameDeltas: 16_384,
  /** Dots in the contexts of one frame. */
  frameDots: 262_144,
  /** Statements about members in one frame: a packet of them at 100 bytes each. */
  frameMembers: 10_000,
  /** UTF-8 bytes of an address where a node can be dialled: 256 characters of any script. */
  addressBytes: 768,
  /** UTF-8 bytes of a zone: 256 characters of any script. */
  zoneBytes: 768,
  /** UTF-8 bytes of the reason of a refusal, and of its code. */
  refusalBytes: 1024,
  /** Bytes of the leaf sums in one frame: 8 for each of 65,536 leaves. */
  leafSumBytes: 524_288,
  /** Bytes that wait on one link before it is closed as one that does not read. A guess: some seconds of a busy fleet. */
  linkWaitingBytes: 8_388_608,
  /** Links that others dialled and that are set up. Above the members that an active view ever holds, many times. */
  linksIn: 1024,
  /** Of those, from one remote address: nodes behind one NAT, or on one host. */
  linksInPerAddress: 512,
  /** Connections of strangers: accepted, and not proven to be of the fleet yet. They take no place of those that are. */
  strangers: 512,
  /** Of those, from one remote address. */
  strangersPerAddress: 256,
  /** How long a connection may take to be set up, from dialling or accepting to the end of the handshake. */
  handshakeMs: 5000,
  /** Bytes of the request that opens a connection, and bytes that a stranger may send after it. */
  strangerBytes: 4096,
  /** Parts of one message on a link. Ours have one. */
  linkMessageParts: 64,
  /** Fleet keys that a node accepts at once: two are enough to change one. */
  fleetKeys: 4,
  /** Bytes of an HTTP body: a full delta in JSON, with its escapes or its base64. */
  httpBodyBytes: 2_097_152,
  /** Bytes of the request line and headers. Node's default. */
  httpHeaderBytes: 16_384,
  /** Connections to the HTTP server. A guess: an agent host has some dozens. */
  httpConnections: 1024,
  /** Watches and streams that are open over HTTP at once. */
  httpStreams: 512,
  /** Requests a second of one agent token, and its burst. A guess: above what a process can ask one at a time. */
  httpRequestsPerSecond: 20_000,
  /** Characters of a version in an ETag; of a longer one only the digest stands there. */
  etagLength: 512,
  /** Entries, or changes of a history, in one page. */
  pageItems: 1000,
  /** Entries that one page looks at for a filter: then it ends, with a cursor to go on from. */
  pageScanned: 20_000,
  /** Filters in one listing. */
  filters: 8,
  /** Bytes of values in one page, roughly: an entry beyond goes to the next. */
  pageBytes: 4_194_304,
  /** Operations in one transact over HTTP. */
  transactOperations: 1000,
  /** The longest time in milliseconds that a request may wait for durability or for peers. */
  waitMs: 60_000,
  /** Answers kept for their Idempotency-Key. */
  idempotencyKeys: 20_000,
  /** Bytes of those answers. */
  idempotencyBytes: 16_777_216,
  /** How long in milliseconds an answer is kept for its key: a day. */
  idempotencyMs: 86_400_000,
  /** Characters of an Idempotency-Key. */
  idempotencyKeyLength: 255,
  /** Answers of one session of the stream that its client has not confirmed. */
  sessionAnswers: 4096,
  /** Sessions with such answers; of more the one that was opened first is forgotten. */
  sessions: 1024,
  /** Agent tokens of a node. */
  agentTokens: 1000,
  /** Rights in one agent token. */
  tokenGrants: 64,
  /** Bytes of one message on a stream. */
  streamMessageBytes: 2_097_152,
  /** Requests of one stream that are being answered; beyond, its socket is not read. */
  streamRequests: 1024,
  /** Watches on one stream. */
  streamWatches: 256,
  /** Bytes that wait for a slow reader of a watch or a stream; beyond, changes wait in its watch. */
  streamBufferBytes: 1_048_576,
  /** Requests of a client that are not answered yet, waiting for the node included; beyond, it is `busy`. A guess: ten full streams. */
  clientRequests: 10_240,
  /** Characters of those requests. */
  clientCharacters: 16_777_216,
  /** Characters that a client gathers into one frame, and that wait in its socket. A guess: some hundred requests. */
  clientFrameCharacters: 131_072,
  /** Bytes of one frame that a client takes in: a few hundred full pages would not fit, and no server gathers them. */
  clientFrameBytes: 67_108_864,
  /** Rules of one space. A guess: people lose the overview long before. */
  rules: 64,
  /** Characters of a rule's name. */
  ruleNameLength: 128,
  /** Bytes of a space's rules together. */
  rulesBytes: 65_536,
  /** Branches of one conflict that are kept whole; of more it says only that there are more. A guess: nobody reads more. */
  caseBranches: 64,
  /** Parts of one branch: what one delta did to what the conflict is about. */
  caseParts: 16,
  /** Bytes of a value that a conflict keeps as evidence; a longer one is cut and says so. */
  caseValueBytes: 4096,
  /** Earlier writes of one thing that a delta is compared with, the newest first. A guess: more have one conflict already. */
  casePairs: 256,
  /** Comparisons for one delta, over all that it touches. A guess: some tens of milliseconds. */
  deltaPairs: 20_000,
  /** From so many decisions on one subject on, the next conflict on it says that what causes them is to be mended. A guess. */
  repeatedConflicts: 3,
  /** Touches in memory of what was written lately, over a space with rules. A guess: some 40 MB. */
  windowTouches: 200_000,
  /** Proposals on one conflict. A guess: whoever decides reads no more. */
  caseProposals: 32,
  /** Lines of a node's audit of conflicts; the oldest go. A guess: 150 MB of disk. */
  auditLines: 500_000,
  /** Conflicts that one notice tells of together; a greater storm comes in several. */
  noticeConflicts: 1000,
  /** Bytes of what a webhook, a command or a resolver answers. */
  answerBytes: 262_144,
  /** Places, and stretches that were taken away, of one edit of a text that are compared with another's. A guess. */
  textPieces: 256,
  /** Bytes of what a rule's own function is given; where there is more, it is not asked. */
  customBytes: 65_536,
  /** Milliseconds that a rule's own function may take before it is suspended. A guess: it should take one. */
  customMs: 250,
  /** Conflicts that are written in one delta: a storm comes in pieces. */
  casesAtOnce: 250,
  /** Findings of a node in memory that are not in a case yet; beyond, their rows wait for a restart, or for another finder. A guess. */
  findings: 200_000,
  /** Values of one label of a metric; what is beyond counts as `other`. A guess: a screen holds fewer. */
  metricLabelValues: 64,
  /** Deltas of one batch whose way to the disk is traced; those beyond have no such span. A guess: no trace viewer shows more. */
  tracedDeltas: 10_000,
  /** Encoded bytes of what an agent shows of itself. A guess: a status, a place, what it can do. */
  presenceBytes: 4096,
  /** Agents that are present, over all spaces of a node and all nodes that it hears of. A guess. */
  presences: 10_000,
  /** Bytes of what they show. */
  presencesBytes: 8_388_608,
  /** The longest time that a presence holds without being said again: an hour. */
  presenceMs: 3_600_000,
  /** Statements on presence in one frame. */
  framePresences: 1024,
  /** Bytes of a configuration file and of a key file. A guess: nobody writes so much by hand. */
  configBytes: 262_144,
} as const
