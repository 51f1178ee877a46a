/** What `skein/client` exports: a node in another process, over its stream, without loading a node. docs/CLIENT.md. */
export { connect } from './client.ts'
export type { ConnectOptions, SkeinClient } from './client.ts'
export type { ClientEvent } from './session.ts'
export type { ClientSpace, ClientTransaction, ClientWriteSettings } from './space.ts'
export type { ClientReceipt } from './receipt.ts'
export type { ClientWatch } from './watch.ts'
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
export { SkeinError, errorTable } from '../base/errors.ts'
export type { ErrorCode } from '../base/errors.ts'
