/**
 * One suspicion: who accuses the member, and until when it may refute (Lifeguard, Dadgar, Phillips, Currey, 2017).
 *
 * The time-out begins long, for a single accuser may be the sick one, and shrinks with each independent one. Beyond the
 * paper: who only heard of it waits longer than those who look for themselves, and before its end everybody looks once more.
 */
import type { NodeId } from '../wire/frame.ts'
import type { MembershipTiming } from './timing.ts'

/** Accusers that are remembered. A guess: twice what counts. */
const accusersKept = 8
/** How much longer who only heard of it waits, pinging the suspect meanwhile. A guess. */
const patiencePeriods = 2

export class Suspicion {
  readonly accusers: NodeId[] = []
  /** This node failed to reach it. */
  mine = false
  #startedMs: number
  /** Another one has declared it dead. */
  #declared = false
  /** It was pinged a last time. */
  #looked = false
  #deadlineMs = Infinity

  constructor(nowMs: number) {
    this.#startedMs = nowMs
  }

  /** Has it stood long enough for a death that somebody tells of? */
  stoodFor(nowMs: number, { deathPeriods, periodMs }: MembershipTiming): boolean {
    return nowMs - this.#startedMs >= deathPeriods * periodMs
  }

  /** Adds an accuser; false when that is nothing new. */
  accuse(by: NodeId, mine: boolean): boolean {
    if (this.accusers.includes(by) || this.accusers.length >= accusersKept) return false
    this.accusers.push(by)
    this.mine ||= mine
    return true
  }

  declare(): void {
    this.#declared = true
  }

  /** From the longest to the shortest time-out, by the logarithm of how many confirm it. */
  settle(fleetSize: number, timing: MembershipTiming): void {
    // Once it has looked, the answer has its time.
    if (this.#looked) return
    const { periodMs, suspicionPeriods, suspicionStretch, confirmations, deathPeriods } = timing
    const shortest = suspicionPeriods * periodMs * Math.max(1, Math.log10(fleetSize) / 2)
    const longest = shortest * suspicionStretch
    const wanted = Math.min(confirmations, fleetSize - 2)
    const share = wanted <= 0 ? 1 : Math.min(1, Math.log(this.accusers.length) / Math.log(wanted + 1))
    const patience = this.mine ? 0 : patiencePeriods * periodMs
    const timeout = longest - (longest - shortest) * share + patience
    this.#deadlineMs = this.#startedMs + Math.min(timeout, this.#declared ? deathPeriods * periodMs : Infinity)
  }

  /** Its accusers ping it in every period, the others towards the end. */
  pings(nowMs: number, { periodMs }: MembershipTiming): boolean {
    return this.mine || nowMs > this.#deadlineMs - patiencePeriods * periodMs
  }

  /** When there is something to do: a last look, or to declare it dead. */
  dueMs({ ackMs }: MembershipTiming): number {
    return this.#looked ? this.#deadlineMs : this.#deadlineMs - ackMs
  }

  /** What to do when it is due: a refutation may have missed this node, so nobody is dead before it has looked. */
  next(nowMs: number, { ackMs }: MembershipTiming): 'look' | 'declare' {
    if (this.#looked) return 'declare'
    this.#looked = true
    this.#deadlineMs = Math.max(this.#deadlineMs, nowMs + ackMs)
    return 'look'
  }

  /** Time that counts for nobody. */
  shift(byMs: number): void {
    this.#startedMs += byMs
    this.#deadlineMs += byMs
  }
}
