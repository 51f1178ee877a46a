/** What a fleet of the tests asks of the network between its nodes, whichever it is. */
import type { Figures, Rule } from './proxy.ts'

export interface Network {
  readonly figures: Figures
  /** Where a node listens, where others dial it, and the words before its command. */
  place(node: number): { readonly listen: string; readonly advertise: string; readonly prefix: readonly string[] }
  /** That node runs, or does not. */
  up(node: number, isUp: boolean): void
  rule(from: number, to: number): Rule
  set(from: number, to: number, rule: Rule): void
  heal(): void
  close(): Promise<void>
}
