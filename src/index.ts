/** Skein: replicated state for agent fleets. Everything public, by name. */

// Opening a node
export { openNode } from './open.ts'
export type { OpenOptions } from './open.ts'
export { openOrConnect } from './open-or-connect.ts'
export type { OpenOrConnectOptions } from './open-or-connect.ts'
export type { SkeinClient } from './client/client.ts'
export type { NodeStatus, SkeinNode } from './node/node.ts'
export type { Retention } from './replica/space.ts'

// Spaces and their schemas
export { defineSpace } from './node/define-space.ts'
export type { SpaceDefinition, SpaceSchemas } from './node/define-space.ts'
export type { EntryRead } from './node/entry-read.ts'
export type {
  EntriesQuery,
  EntryRow,
  SpaceHandle,
  SpaceStatus,
  Taken,
  Transaction,
  WriteSettings,
} from './node/space-handle.ts'

// Conflicts
export type { AuditHead, AuditLine, AuditReport } from './replica/audit.ts'
export type {
  AssignOptions,
  AuditOptions,
  ConflictCall,
  ConflictGap,
  ConflictHistoryItem,
  ConflictOptions,
  ConflictsStatus,
  NodeConflicts,
  ProposeOptions,
  ResolveOptions,
  SnoozeOptions,
  SpaceRules,
} from './node/conflicts.ts'
export type { BranchEvidence, Conflict, DecisionEvidence, Difference, Earlier, PartEvidence } from './merge/evidence.ts'
export type { Choice } from './merge/case.ts'
export type { Compensation, Handling, Notice, Proposal, Said, Stage } from './merge/queue.ts'
export type { PolicyDeclaration, WorkflowDeclaration } from './merge/policy.ts'
export type { ActionBody, NoticeBody, ResolverAnswer, ResolverBody } from './node/workflow/driver.ts'
export type { CommandOptions, TargetOptions, WebhookOptions, WorkflowOptions } from './node/workflow/options.ts'
export type { ConflictEvent } from './replica/conflicts.ts'
export type { CustomRule } from './node/custom-rules.ts'
export type { Meeting, MeetingChange } from './merge/rules/custom.ts'
export type { RuleDeclaration, RuleSet } from './merge/rule-set.ts'

// Types
export type {
  BudgetHandle,
  BudgetState,
  CellSibling,
  ClaimHandle,
  ClaimState,
  CounterHandle,
  DocHandle,
  FlagHandle,
  Held,
  ListHandle,
  LogHandle,
  Read,
  RecordHandle,
  RegisterHandle,
  SetHandle,
  TextHandle,
  WatchOptions,
} from './node/handles.ts'
export type { Value } from './base/value.ts'
export type { Written } from './crdt/type.ts'

// Writes, history, watching
export type { Durability, Receipt } from './node/receipt.ts'
export type { HistoryChange, HistoryItem } from './node/history.ts'
export type { EntryChanged, Watch, WatchEvent, WatchGap } from './node/watch.ts'

// Purging
export type { PurgeReport } from './node/purges.ts'

// Presence
export type {
  PresenceEvent,
  PresenceWatch,
  PresenceWatchOptions,
  PresentAgent,
  ShowOptions,
  SpacePresence,
} from './node/presence.ts'
export type { KeepOptions } from './recipes/keep-present.ts'

// The fleet
export type { Exchanged, MemberOfSpace, ReachOptions, SpaceLag, SyncReport, Verdict } from './node/fleet.ts'
export type { Observer } from './node/node.ts'
export type { PeerStatus, Peers } from './node/peers.ts'
export type { Connection, ConnectionHandlers, Transport, TransportEvent } from './transport/transport.ts'
export { newFleetKey } from './node/security/fleet-key.ts'

// Claims, tasks, lines
export type { HoldOptions, Work } from './recipes/hold.ts'
export type { NextOptions } from './recipes/claim-next.ts'
export type { Where } from './recipes/where.ts'
export { exportLines, importLines } from './recipes/lines.ts'
export type { ExportOptions, ImportReport, LinesHost } from './recipes/lines.ts'

// Backup
export { backup, restore } from './backup.ts'
export type { BackupReport, RestoreOptions } from './backup.ts'

// Errors
export { SkeinError, errorTable } from './base/errors.ts'
export type { ErrorCode } from './base/errors.ts'
