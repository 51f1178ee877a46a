/** What the simulator holds a fleet to. Every finding names the rule that it breaks. */
export const rules = {
  alive: 'No input makes a node throw, and none makes it run without end.',
  contract: 'A machine asks its driver only for what they have agreed upon.',
  bounds: 'Queues, waiting rooms and what is unsent stay under their bounds.',
  acknowledged: 'What was acknowledged is kept, while one disk that has it survives.',
  'equal vectors': 'Equal vectors mean equal roots, at every moment.',
  rebuild: 'The root, the leaves and the counts are the sums over the rows.',
  'one dot': 'A dot means the same bytes for ever, and nobody applies what nobody wrote.',
  causal: 'Within a space nothing is seen before what it follows, and nothing twice.',
  'no resurrection': 'What was removed stays removed, unless a write that its remover had not seen brings it.',
  budget: 'A budget is never overspent.',
  fence: 'A fence never goes back, and a new holder gets one of his own.',
  expiry: 'What expires takes nothing else along.',
  claims: 'What a node says to have on its disk, its disk has.',
  conflicts: 'No conflict is lost or made up, and one that is settled stays so until a branch comes that nobody knew.',
  told: 'Somebody is told of each open conflict, and once where nothing goes wrong.',
  presence: 'What agents show of themselves stays in memory, and in the end all see the same.',
  watchers: 'Whoever watches sees every delta once, or is told of a gap.',
  disks: 'A disk is said to have only what it has had, and what rests on disks waits for them.',
  alarms: 'Damage, forks and broken protocols are told of only where there were any.',
  converges: 'When all is healed, all replicas are equal within the stated time.',
  rest: 'A fleet in which nothing happens says little, however much it holds.',
  oracle: 'The cells are those that the plain definition makes of the same deltas.',
  determinism: 'One seed, one trace.',
} as const

export type Rule = keyof typeof rules

export interface Violation {
  readonly rule: Rule
  readonly what: string
  /** Virtual time. */
  readonly at: number
}
