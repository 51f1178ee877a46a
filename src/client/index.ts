/** What `skein/client` exports: a node in another process, over its stream, without loading a node. docs/CLIENT.md. */
export { connect } from './client.ts'
export type { ConnectOptions, SkeinClient } from './client.ts'
export type { ClientConflicts, ConflictWatch } from './conflicts.ts'
export type { ClientEvent } from './session.ts'
export type { ClientSpace, ClientTaken, ClientTransaction, ClientWriteSettings } from './space.ts'
export type { ClientReceipt } from './receipt.ts'
export type { ClientWatch } from './watch.ts'
export type { ClientPresence, ClientPresenceWatch } from './presence.ts'
export type { PresenceEvent, PresenceWatchOptions, PresentAgent, ShowOptions } from '../node/presence.ts'
export type { KeepOptions } from '../recipes/keep-present.ts'
export type {
  AskOptions,
  ClientBudget,
  ClientClaim,
  ClientCounter,
  ClientDoc,
  ClientFlag,
  ClientList,
  ClientLog,
  ClientRecord,
  ClientRegister,
  ClientSet,
  ClientText,
  ClientWatchOptions,
  ReadOptions,
} from './handles.ts'
export { exportLines, importLines } from '../recipes/lines.ts'
export type { ExportOptions, ImportReport, LinesHost } from '../recipes/lines.ts'
export type { HoldOptions, Work } from '../recipes/hold.ts'
export type { NextOptions } from '../recipes/claim-next.ts'
export type { Where } from '../recipes/where.ts'
export { SkeinError, errorTable } from '../base/errors.ts'
export type { ErrorCode } from '../base/errors.ts'
