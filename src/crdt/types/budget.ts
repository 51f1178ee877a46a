/**
 * The budget: an escrow counter (bounded counter; Balegas et al., 2015). Each origin holds *rights*, and only it may
 * spend them, so no interleaving of crashes, partitions and reorderings overspends. Rights come from grants and
 * transfers, and leave by transfers, spending, reservations and revocation. Deltas are applied whole and in causal
 * order, so on every replica, at every moment, what an origin spent stands beside the rights that it had.
 *
 * Cells, each written by one origin only:
 *   ['s', origin]    its account: running totals, open reservations, the number of the next one
 *   ['t', from, to]  running total of what `from` gave to `to`, written by `from`
 *   ['x', origin]    its takeover, written by a later incarnation of the same node
 *
 * A new incarnation starts without rights. Once a predecessor is `retired`, the first operation takes it over in one
 * delta: its account becomes the takeover cell, its reservations go into the successor's account, its transfers into
 * the successor's, and whatever is transferred to it later counts as the successor's. So cells follow nodes, not
 * restarts. The takeover cell keeps the totals as they were: what the predecessor spends after that shows as the
 * difference, is counted, and stays `overspent`. Of more than `keptTakeovers` the oldest are summed up in the newest
 * (`carried`); an account from before that line can no longer be told apart and counts as overspent as a whole.
 *
 * Of two takeovers of one origin (nobody should ever write that) the first counts, on every replica; what the other
 * spent on the strength of its own is overspent. It detects such things and cannot undo them.
 */
import { toHex } from '../../base/bytes.ts'
import { SkeinError } from '../../base/errors.ts'
import type { Value } from '../../base/value.ts'
import { pathOf } from '../cell.ts'
import type { Path, Siblings } from '../cell.ts'
import { bytesOf, nodeOf, originBytes } from '../dot.ts'
import type { OriginId } from '../dot.ts'
import type { Cells, Change, CrdtType } from '../type.ts'
import { integer, invalid, isFields, key, text } from './arguments.ts'
import { isWhole, valueOf, valueOfPath } from './reading.ts'

const max = Number.MAX_SAFE_INTEGER

/** Predecessors of one node whose later spending is still told exactly: some 60 bytes each. A guess. */
const keptTakeovers = 8

/** Running totals, which only ever grow. */
interface Totals {
  readonly granted: number
  readonly revoked: number
  readonly spent: number
}

interface Account extends Totals {
  /** The time of its first write, above that of every earlier incarnation in these cells: their order. */
  readonly born: number
  /** The number of the next reservation: none is given out twice. */
  readonly next: number
  /** Reservation id → amount. */
  readonly held: ReadonlyMap<string, number>
  /** The sequence of the delta that wrote it. */
  readonly seq: number
}

interface Carried extends Totals {
  /** Accounts of this node born up to then are summed up here. 0 when there are none. */
  readonly born: number
}

interface Takeover extends Totals {
  readonly to: OriginId
  /** The predecessor's last sequence that was seen in these cells: evidence, if it writes on. */
  readonly seq: number
  /** When it was first taken over: of two takeovers the earlier counts. */
  readonly since: number
  readonly born: number
  /** Reservations below this number went to the successor. */
  readonly next: number
  readonly carried: Carried
}

/** What the cells say. */
interface Book {
  readonly accounts: Map<OriginId, Account>
  readonly transfers: Map<OriginId, Map<OriginId, number>>
  readonly takeovers: Map<OriginId, Takeover>
}

const nothing: Totals = { granted: 0, revoked: 0, spent: 0 }
const noReservations: ReadonlyMap<string, number> = new Map()
const emptyAccount: Account = { ...nothing, born: 0, next: 1, held: noReservations, seq: 0 }
const nothingCarried: Carried = { ...nothing, born: 0 }

const accountPath = (origin: OriginId): Path => pathOf(['s', bytesOf(origin)])
const transferPath = (from: OriginId, to: OriginId): Path => pathOf(['t', bytesOf(from), bytesOf(to)])
const takeoverPath = (origin: OriginId): Path => pathOf(['x', bytesOf(origin)])

function originAt(value: unknown): OriginId | undefined {
  return value instanceof Uint8Array && value.length === originBytes ? (toHex(value) as OriginId) : undefined
}

function encodeAccount({ born, next, granted, revoked, spent, held }: Account): Value {
  return [born, next, granted, revoked, spent, Object.fromEntries(held)]
}

function decodeAccount(value: Value | undefined, seq: number): Account | undefined {
  if (!Array.isArray(value) || value.length !== 6) return undefined
  const [born, next, granted, revoked, spent, held] = value as readonly unknown[]
  if (!isWhole(born) || !isWhole(next) || !isWhole(granted) || !isWhole(revoked) || !isWhole(spent)) return undefined
  if (!isFields(held)) return undefined
  const reservations = new Map<string, number>()
  for (const [id, amount] of Object.entries(held)) if (isWhole(amount)) reservations.set(id, amount)
  return { born, next, granted, revoked, spent, held: reservations, seq }
}

function encodeTakeover({ to, seq, since, born, next, granted, revoked, spent, carried }: Takeover): Value {
  const summed = carried.born === 0 ? [] : [carried.born, carried.granted, carried.revoked, carried.spent]
  return [bytesOf(to), seq, since, born, next, granted, revoked, spent, ...summed]
}

/** A stranger cannot take over, nor an origin itself. */
function decodeTakeover(value: Value | undefined, origin: OriginId): Takeover | undefined {
  if (!Array.isArray(value) || (value.length !== 8 && value.length !== 12)) return undefined
  const [successor, ...numbers] = value as readonly Value[]
  const to = originAt(successor)
  if (to === undefined || to === origin || nodeOf(to) !== nodeOf(origin) || !numbers.every(isWhole)) return undefined
  const [seq = 0, since = 0, born = 0, next = 0, granted = 0, revoked = 0, spent = 0, ...summed] = numbers
  const [carriedBorn = 0, carriedGranted = 0, carriedRevoked = 0, carriedSpent = 0] = summed
  const carried = { born: carriedBorn, granted: carriedGranted, revoked: carriedRevoked, spent: carriedSpent }
  return { to, seq, since, born, next, granted, revoked, spent, carried }
}

/** The newest that can be read: only a repair or a fork gives an account two siblings. */
function accountOf(siblings: Siblings): Account | undefined {
  let account: Account | undefined
  for (const sibling of siblings) account = decodeAccount(valueOf(sibling), sibling.seq) ?? account
  return account
}

function transferOf(siblings: Siblings): number {
  let total = 0
  for (const sibling of siblings) {
    const value = valueOf(sibling)
    if (isWhole(value) && value > total) total = value
  }
  return total
}

function takeoverOf(siblings: Siblings, origin: OriginId): Takeover | undefined {
  let first: Takeover | undefined
  for (const sibling of siblings) {
    const takeover = decodeTakeover(valueOf(sibling), origin)
    if (takeover !== undefined && (first === undefined || takeover.since < first.since)) first = takeover
  }
  return first
}

function bookOf(cells: Cells): Book {
  const book: Book = { accounts: new Map(), transfers: new Map(), takeovers: new Map() }
  for (const [path, siblings] of cells.all()) {
    const parts = valueOfPath(path)
    if (!Array.isArray(parts)) continue
    const [kind, first, second, ...rest] = parts as readonly unknown[]
    const origin = originAt(first)
    if (origin === undefined || rest.length > 0) continue
    if (kind === 't') {
      const to = originAt(second)
      const total = transferOf(siblings)
      if (to !== undefined && to !== origin && total > 0) setTransfer(book, origin, to, total)
    } else if (second === undefined) {
      const account = kind === 's' ? accountOf(siblings) : undefined
      const takeover = kind === 'x' ? takeoverOf(siblings, origin) : undefined
      if (account !== undefined) book.accounts.set(origin, account)
      if (takeover !== undefined) book.takeovers.set(origin, takeover)
    }
  }
  return book
}

function setTransfer({ transfers }: Book, from: OriginId, to: OriginId, total: number): void {
  let given = transfers.get(from)
  if (given === undefined) transfers.set(from, (given = new Map<OriginId, number>()))
  if (total === 0) given.delete(to)
  else given.set(to, total)
}

/** Who holds what is given to this origin. */
function holderOf({ takeovers }: Book, origin: OriginId): OriginId {
  return takeovers.get(origin)?.to ?? origin
}

function sumOf(amounts: Iterable<number>): bigint {
  let sum = 0n
  for (const amount of amounts) sum += BigInt(amount)
  return sum
}

/** A short name of the incarnation, whose bits are random: unique for ever without the node's. */
function reservationPrefix(origin: OriginId): string {
  return `${origin.slice(16)}-`
}

/** Reservations that an origin made itself, numbered from `next` on. */
function* madeSince(origin: OriginId, held: ReadonlyMap<string, number>, next: number): Iterable<number> {
  const prefix = reservationPrefix(origin)
  for (const [id, amount] of held) {
    if (id.startsWith(prefix) && Number(id.slice(prefix.length)) >= next) yield amount
  }
}

/** The account was summed up in a `carried` and its takeover dropped: nothing it says can be told from what is there. */
function isClosed({ takeovers }: Book, origin: OriginId, account: Account): boolean {
  for (const [other, { carried }] of takeovers) {
    if (account.born > 0 && account.born <= carried.born && nodeOf(other) === nodeOf(origin)) return true
  }
  return false
}

/** Sums are bigints: running totals may each be exact and their sum not. */
interface Sums {
  granted: bigint
  revoked: bigint
  spent: bigint
  held: bigint
  readonly rights: Map<OriginId, bigint>
}

/** The one place that says who may spend what. All rights together are what is available, whatever the cells say. */
function sumsOf(book: Book): Sums {
  const sums: Sums = { granted: 0n, revoked: 0n, spent: 0n, held: 0n, rights: new Map() }
  const add = (origin: OriginId, rights: bigint): void => {
    sums.rights.set(origin, (sums.rights.get(origin) ?? 0n) + rights)
  }
  const count = (holder: OriginId, granted: number, revoked: number, spent: number, held: bigint = 0n): void => {
    sums.granted += BigInt(granted)
    sums.revoked += BigInt(revoked)
    sums.spent += BigInt(spent)
    sums.held += held
    add(holder, BigInt(granted) - BigInt(revoked) - BigInt(spent) - held)
  }
  for (const [origin, account] of book.accounts) {
    const { granted, revoked, spent, held } = account
    const taken = book.takeovers.get(origin)
    if (taken !== undefined) {
      const since = (now: number, then: number): number => Math.max(0, now - then)
      const late = sumOf(madeSince(origin, held, taken.next))
      count(origin, since(granted, taken.granted), since(revoked, taken.revoked), since(spent, taken.spent), late)
    } else if (isClosed(book, origin, account)) count(origin, 0, 0, spent, sumOf(held.values()))
    else count(origin, granted, revoked, spent, sumOf(held.values()))
  }
  for (const { to, granted, revoked, spent, carried } of book.takeovers.values()) {
    count(to, granted, revoked, spent)
    count(to, carried.granted, carried.revoked, carried.spent)
  }
  for (const [from, given] of book.transfers) {
    for (const [to, total] of given) {
      add(from, -BigInt(total))
      add(holderOf(book, to), BigInt(total))
    }
  }
  return sums
}

function overflow(what: string): SkeinError {
  return new SkeinError('counter_overflow', `${what} would leave the exact integers`)
}

/**
 * An operation at its writer: the book as it stands, with what is due put in order first. Everything happens on a copy;
 * `write` tells the change what differs, so an operation that throws leaves no trace.
 */
class Desk {
  readonly #before: Book
  readonly #book: Book
  readonly #change: Change
  readonly #me: OriginId

  constructor(cells: Cells, change: Change) {
    this.#before = bookOf(cells)
    this.#change = change
    this.#me = change.origin
    const { accounts, transfers, takeovers } = this.#before
    this.#book = {
      accounts: new Map(accounts),
      transfers: new Map([...transfers].map(([from, given]) => [from, new Map(given)])),
      takeovers: new Map(takeovers),
    }
    this.#takeOver()
    this.#redirect()
  }

  get account(): Account {
    const { accounts, takeovers } = this.#book
    const account = accounts.get(this.#me)
    if (account !== undefined) return account
    const taken = takeovers.get(this.#me)
    // Fenced, though still here: the successor has what was held, and totals go on from where they were.
    if (taken !== undefined) return { ...emptyAccount, ...taken, held: noReservations }
    return { ...emptyAccount, born: Math.max(this.#change.time, this.#youngest() + 1) }
  }

  set account(account: Account) {
    this.#book.accounts.set(this.#me, account)
  }

  get granted(): bigint {
    return sumsOf(this.#book).granted
  }

  /** Own rights; none where they are overdrawn. */
  get free(): number {
    const rights = sumsOf(this.#book).rights.get(this.#me) ?? 0n
    return rights <= 0n ? 0 : Number(rights)
  }

  /** Throws unless own rights cover the amount. */
  need(amount: number): void {
    const { free } = this
    if (amount <= free) return
    throw new SkeinError('budget_exceeded', `${amount} were asked and ${free} are available on this node`, {
      available: free,
      asked: amount,
    })
  }

  give(to: OriginId, amount: number): void {
    const holder = holderOf(this.#book, to)
    if (holder !== this.#me && !this.#raise(holder, amount)) throw overflow('the running total of this transfer')
  }

  write(): void {
    const { accounts, transfers, takeovers } = this.#book
    const change = this.#change
    for (const [origin, account] of accounts) {
      const { granted, revoked, spent, next } = account
      if (account === this.#before.accounts.get(origin)) continue
      if (granted > max || revoked > max || spent > max || next > max) throw overflow('a running total')
      change.put(accountPath(origin), encodeAccount(account))
    }
    for (const origin of this.#before.accounts.keys()) {
      if (!accounts.has(origin)) change.remove(accountPath(origin))
    }
    for (const [from, given] of transfers) {
      for (const [to, total] of given) {
        if (total !== this.#before.transfers.get(from)?.get(to)) change.put(transferPath(from, to), total)
      }
    }
    for (const [from, given] of this.#before.transfers) {
      for (const to of given.keys()) if (!transfers.get(from)?.has(to)) change.remove(transferPath(from, to))
    }
    for (const [origin, takeover] of takeovers) {
      if (takeover !== this.#before.takeovers.get(origin)) change.put(takeoverPath(origin), encodeTakeover(takeover))
    }
    for (const origin of this.#before.takeovers.keys()) {
      if (!takeovers.has(origin)) change.remove(takeoverPath(origin))
    }
  }

  #isKin(origin: OriginId): boolean {
    return origin !== this.#me && nodeOf(origin) === nodeOf(this.#me)
  }

  #youngest(): number {
    let born = 0
    for (const [origin, account] of this.#book.accounts) if (this.#isKin(origin)) born = Math.max(born, account.born)
    for (const [origin, taken] of this.#book.takeovers) {
      if (this.#isKin(origin)) born = Math.max(born, taken.born, taken.carried.born)
    }
    return born
  }

  /** Raises an own running total; false where it would leave the exact integers. */
  #raise(to: OriginId, amount: number): boolean {
    const total = (this.#book.transfers.get(this.#me)?.get(to) ?? 0) + amount
    if (total > max) return false
    setTransfer(this.#book, this.#me, to, total)
    return true
  }

  #takeOver(): void {
    const { accounts, transfers, takeovers } = this.#book
    if (takeovers.has(this.#me)) return
    const predecessors = new Set<OriginId>(accounts.keys())
    for (const [from, given] of transfers) for (const origin of [from, ...given.keys()]) predecessors.add(origin)
    for (const { to } of takeovers.values()) predecessors.add(to)
    let took = false
    for (const origin of [...predecessors].sort()) {
      if (!this.#isKin(origin) || takeovers.has(origin) || !this.#change.retired(origin)) continue
      const account = accounts.get(origin) ?? emptyAccount
      if (isClosed(this.#book, origin, account)) continue
      took = this.#takeOverOne(origin, account) || took
    }
    if (took) this.#sumUp()
  }

  #takeOverOne(origin: OriginId, account: Account): boolean {
    const { accounts, transfers, takeovers } = this.#book
    // An overdrawn account stays as it is: whoever took it over would hide the debt in rights of his own.
    if ((sumsOf(this.#book).rights.get(origin) ?? 0n) < 0n) return false
    const given = [...(transfers.get(origin) ?? [])]
    const own = transfers.get(this.#me)
    // Running totals near the end of the exact integers stay apart, and the predecessor with them.
    if (given.some(([to, total]) => (own?.get(to) ?? 0) + total > max)) return false
    if (account.held.size > 0)
      this.account = { ...this.account, held: new Map([...this.account.held, ...account.held]) }
    for (const [to, total] of given) if (to !== this.#me) this.#raise(to, total)
    const { born, next, granted, revoked, spent, seq } = account
    const since = this.#change.time
    const totals = { granted, revoked, spent }
    takeovers.set(origin, { to: this.#me, seq, since, born, next, ...totals, carried: nothingCarried })
    for (const [earlier, taken] of takeovers) {
      if (taken.to === origin) takeovers.set(earlier, { ...taken, to: this.#me })
    }
    accounts.delete(origin)
    transfers.delete(origin)
    return true
  }

  /**
   * Sums up the oldest takeovers in the newest, in their order, up to one that something still names: a transfer, or an
   * account of this node from before the line that this would draw.
   */
  #sumUp(): void {
    const { accounts, transfers, takeovers } = this.#book
    const mine = [...takeovers].filter(([, { to }]) => to === this.#me).sort(([, a], [, b]) => a.born - b.born)
    const [newest] = mine.at(-1) as [OriginId, Takeover]
    for (const [origin, taken] of mine.slice(0, -keptTakeovers)) {
      for (const given of transfers.values()) if (given.has(origin)) return
      for (const [other, { born }] of accounts) {
        if (nodeOf(other) === nodeOf(this.#me) && born <= taken.born) return
      }
      const into = takeovers.get(newest) as Takeover
      const sum = (of: (totals: Totals) => number): number => of(into.carried) + of(taken) + of(taken.carried)
      const carried = {
        born: Math.max(into.carried.born, taken.born, taken.carried.born),
        granted: sum(({ granted }) => granted),
        revoked: sum(({ revoked }) => revoked),
        spent: sum(({ spent }) => spent),
      }
      if (carried.granted > max || carried.revoked > max || carried.spent > max) return
      takeovers.delete(origin)
      takeovers.set(newest, { ...into, carried })
    }
  }

  /** Names the present holder in own transfers to somebody who was taken over, so that no cell waits on the departed. */
  #redirect(): void {
    // A copy: raising one total adds to what is walked.
    const given = new Map(this.#book.transfers.get(this.#me))
    for (const [to, total] of given) {
      const holder = holderOf(this.#book, to)
      if (holder === to) continue
      if (holder === this.#me || this.#raise(holder, total)) setTransfer(this.#book, this.#me, to, 0)
    }
  }
}

function operate(cells: Cells, change: Change, act: (desk: Desk) => Value | undefined): Value | undefined {
  const desk = new Desk(cells, change)
  const result = act(desk)
  desk.write()
  return result
}

function reservation(cells: Cells, { held }: Account, id: string): number {
  const amount = held.get(id)
  if (amount !== undefined) return amount
  throw new SkeinError('unknown_reservation', `${cells.key} has no open reservation ${id} on this node`, { id })
}

function without(held: ReadonlyMap<string, number>, id: string): ReadonlyMap<string, number> {
  const left = new Map(held)
  left.delete(id)
  return left
}

export interface BudgetValue {
  readonly granted: number
  readonly spent: number
  /** In open reservations. */
  readonly held: number
  readonly revoked: number
  /** Of the whole budget; what one node may spend is its part of `rights`. */
  readonly available: number
  /** Origin → what it may spend; below 0 where it spent more than it held. */
  readonly rights: Readonly<Record<string, number>>
  /** 0, unless something that must not happen did: a fenced incarnation wrote on, or two took over the same one. */
  readonly overspent: number
}

/** What this origin may spend by these cells, before any takeover that is due. */
export function rightsOf(cells: Cells, origin: OriginId): number {
  return Number(sumsOf(bookOf(cells)).rights.get(origin) ?? 0n)
}

const amountOf = (args: Readonly<Record<string, unknown>>): number => integer(args, 'amount', { min: 1 })

export const budget: CrdtType<BudgetValue> = {
  id: 9,
  name: 'budget',
  countsByOrigin: true,
  merge: 'each origin spends only rights that it holds; the sums of all accounts',
  leavesFromDisk: true,
  operations: {
    grant: {
      parameters: ['amount'],
      run(cells, change, args) {
        const amount = amountOf(args)
        return operate(cells, change, (desk) => {
          if (desk.granted + BigInt(amount) > BigInt(max)) throw overflow(`granting ${amount} more`)
          desk.account = { ...desk.account, granted: desk.account.granted + amount }
          return undefined
        })
      },
    },
    spend: {
      parameters: ['amount'],
      run(cells, change, args) {
        const amount = amountOf(args)
        return operate(cells, change, (desk) => {
          desk.need(amount)
          desk.account = { ...desk.account, spent: desk.account.spent + amount }
          return undefined
        })
      },
    },
    reserve: {
      parameters: ['amount'],
      run(cells, change, args) {
        const amount = amountOf(args)
        return operate(cells, change, (desk) => {
          desk.need(amount)
          const { account } = desk
          const id = `${reservationPrefix(change.origin)}${account.next}`
          desk.account = { ...account, next: account.next + 1, held: new Map([...account.held, [id, amount]]) }
          return { id }
        })
      },
    },
    /** The cost came to be known: below, at or above what was reserved. Above needs free rights. */
    settle: {
      parameters: ['id', 'amount'],
      run(cells, change, args) {
        const id = key(args, 'id')
        const amount = integer(args, 'amount', { min: 0 })
        return operate(cells, change, (desk) => {
          const { account } = desk
          const reserved = reservation(cells, account, id)
          if (amount > reserved) desk.need(amount - reserved)
          desk.account = { ...account, spent: account.spent + amount, held: without(account.held, id) }
          return undefined
        })
      },
    },
    refund: {
      parameters: ['id'],
      run(cells, change, args) {
        const id = key(args, 'id')
        return operate(cells, change, (desk) => {
          const { account } = desk
          reservation(cells, account, id)
          desk.account = { ...account, held: without(account.held, id) }
          return undefined
        })
      },
    },
    revoke: {
      parameters: ['amount'],
      run(cells, change, args) {
        const amount = amountOf(args)
        return operate(cells, change, (desk) => {
          desk.need(amount)
          desk.account = { ...desk.account, revoked: desk.account.revoked + amount }
          return undefined
        })
      },
    },
    /** To oneself it changes nothing. */
    transfer: {
      parameters: ['to', 'amount'],
      run(cells, change, args) {
        const to = text(args, 'to')
        if (!/^[0-9a-f]{32}$/.test(to)) throw invalid('to', 'an origin, 32 hexadecimal digits', to)
        const amount = amountOf(args)
        return operate(cells, change, (desk) => {
          desk.need(amount)
          desk.give(to as OriginId, amount)
          return undefined
        })
      },
    },
  },
  read(cells) {
    const book = bookOf(cells)
    const { granted, revoked, spent, held, rights } = sumsOf(book)
    const shown: Record<string, number> = {}
    let overspent = 0n
    for (const [origin, own] of [...rights].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (own < 0n) overspent -= own
      if (own !== 0n || !book.takeovers.has(origin)) shown[origin] = Number(own)
    }
    const value = {
      granted: Number(granted),
      spent: Number(spent),
      held: Number(held),
      revoked: Number(revoked),
      available: Number(granted - revoked - spent - held),
      rights: shown,
      overspent: Number(overspent),
    }
    return { value, concurrent: [] }
  },
  delete(cells) {
    throw new SkeinError('budget_not_deletable', `${cells.key} is a budget: what was spent stays on record`)
  },
}
