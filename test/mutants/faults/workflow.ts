/** Faults in what is done about conflicts: the queue, policies, errands, calls outside, the audit. */
import type { Fault } from '../fault.ts'

const queue = ['src/replica/case-queue', 'src/replica/errands']
const errands = ['src/replica/errands']
const outside = ['src/node/workflow']
const audit = ['src/replica/audit']

export const workflowFaults: readonly Fault[] = [
  {
    name: 'workflow: what was noted holds when the case opens again',
    file: 'src/merge/queue.ts',
    find: "return held?.value['round'] === round ? held : undefined",
    replace: 'return held',
    tests: queue,
  },
  {
    name: 'workflow: of two that were said at once the first holds',
    file: 'src/merge/queue.ts',
    find: 'const last = newest(siblings)',
    replace: 'const last = siblings[0]',
    tests: queue,
  },
  {
    name: 'workflow: a proposal on another revision counts',
    file: 'src/merge/queue.ts',
    find: 'isStale: on !== revision',
    replace: 'isStale: false',
    tests: queue,
  },
  {
    name: 'workflow: a policy overrules a person',
    file: 'src/merge/policy.ts',
    find: 'return !contradictory && !decisions.some(({ agent }) => names(people, agent))',
    replace: 'return !contradictory && (decisions.length === 0 || people.length > 0)',
    tests: errands,
  },
  {
    name: 'workflow: a policy settles what is for persons',
    file: 'src/merge/policy.ts',
    find: "if (rules === undefined ? known.decides === 'person' : !rules.includes(known.rule)) return false",
    replace: 'if (rules?.includes(known.rule) === false) return false',
    tests: errands,
  },
  {
    name: 'workflow: nobody takes over from a node that is gone',
    file: 'src/replica/errands.ts',
    find: ' || !this.#config.holders(space).includes(found.node)',
    replace: '',
    tests: errands,
  },
  {
    name: 'workflow: every node acts at once',
    file: 'src/replica/errands.ts',
    find: 'return from + graceMs * placeOf(this.#config.node, this.#config.holders(space), who)',
    replace: 'return from + 0 * placeOf(this.#config.node, this.#config.holders(space), who)',
    tests: errands,
  },
  {
    name: 'workflow: what was taken before a crash is not done',
    file: 'src/replica/errands.ts',
    find: 'if (!this.#under.has(underKey(errand))) this.#out(errand)',
    replace: '',
    tests: errands,
  },
  {
    name: 'workflow: a storm leaves some out',
    file: 'src/merge/storm.ts',
    find: 'stay.push(...items)',
    replace: 'stay.push(...items.slice(1))',
    tests: ['src/merge/storm'],
  },
  {
    name: 'workflow: a name that leads to a private address is followed',
    file: 'src/node/workflow/endpoint.ts',
    find: '...(!allowPrivate && { lookup: publicLookup }),',
    replace: '',
    tests: outside,
  },
  {
    name: 'workflow: a private address by its number is asked',
    file: 'src/node/workflow/endpoint.ts',
    find: 'if (!allowPrivate && isIP(host) !== 0 && !isPublic(host)) throw',
    replace: 'if (!allowPrivate && host === "") throw',
    tests: outside,
  },
  {
    name: 'workflow: the signature is made with another secret',
    file: 'src/node/workflow/endpoint.ts',
    find: "createHmac('sha256', secret)",
    replace: "createHmac('sha256', 'secret')",
    tests: outside,
  },
  {
    name: 'workflow: the breaker never closes the door',
    file: 'src/node/workflow/caller.ts',
    find: 'if (this.#failures >= breakAfter) this.#brokenUntilMs',
    replace: 'if (this.#failures > breakAfter * 100) this.#brokenUntilMs',
    tests: outside,
  },
  {
    name: 'workflow: a line of the audit need not follow the one before',
    file: 'src/replica/audit.ts',
    find: 'else if (line.previous !== this.#previous)',
    replace: 'else if (line.previous === "")',
    tests: audit,
  },
  {
    name: 'workflow: the anchor of the audit stays where it was',
    file: 'src/replica/audit.ts',
    find: 'anchor: toHex(sha256(oldest))',
    replace: 'anchor: head.anchor',
    tests: audit,
  },
]
