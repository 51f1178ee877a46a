/** The constants of membership, each with its source. Fleets over slow networks stretch them together. */
export interface MembershipTiming {
  /** SWIM's protocol period; memberlist's LAN default. */
  readonly periodMs: number
  /** Until others are asked; memberlist's LAN default. */
  readonly ackMs: number
  /** Until an asked one says that it has heard nothing. A guess: Lifeguard has 80 % of the time-out. */
  readonly nackMs: number
  /** How many are asked; memberlist's default. */
  readonly helpers: number
  /** The shortest suspicion, in periods, up to 100 members; it grows with log10. A stall longer than this cannot be refuted. */
  readonly suspicionPeriods: number
  /** The longest, for a single accuser, as a multiple of the shortest. memberlist has 6; three accusers come within seconds. */
  readonly suspicionStretch: number
  /** Independent accusers, beside the first, that shorten a suspicion all the way. From Lifeguard. */
  readonly confirmations: number
  /** A death that others tell of is believed of who has been suspect for so long. A guess: half a suspicion. */
  readonly deathPeriods: number
  /** News wait so long for others to join them. A guess. */
  readonly newsMs: number
  /** While there are news they are passed on so often; memberlist's LAN default. */
  readonly gossipMs: number
  /** To so many; memberlist's LAN default. */
  readonly gossipNodes: number
  /** Whole lists are exchanged with somebody, times log2 of 32nds of the fleet; memberlist's default. */
  readonly exchangeMs: number
  /** A dead member is pinged: this is what joins the sides of a healed partition. A guess. */
  readonly revisitMs: number
  /** Dead members are forgotten. A guess: longer than most partitions; seeds join what was apart for longer. */
  readonly forgetMs: number
  /** A timer later than this says that the loop stood still. A guess: above what a collection of garbage takes. */
  readonly lateMs: number
}

export const lanTiming: MembershipTiming = {
  periodMs: 1000,
  ackMs: 500,
  nackMs: 300,
  helpers: 3,
  suspicionPeriods: 6,
  suspicionStretch: 2,
  confirmations: 3,
  deathPeriods: 3,
  newsMs: 10,
  gossipMs: 200,
  gossipNodes: 3,
  exchangeMs: 30_000,
  revisitMs: 5000,
  forgetMs: 86_400_000,
  lateMs: 100,
}
