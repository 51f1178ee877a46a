/**
 * The layers of the house, as data: which room a file lives in, what it may import and what it may touch. The tidy test
 * holds every file under src/ to this table; docs and reviews can point at it.
 *
 * Imports point one way. A room is a folder (its path ends in a slash) or a single file; the longest match wins, so a
 * contract file can be a room of its own inside the folder of its adapters. A room always may import itself.
 */

export interface Room {
  /** A folder of src/ with a closing slash, or one file. */
  readonly at: string
  /** The rooms, by their path, that this one may import. */
  readonly imports: readonly string[]
  /**
   * Pure: no socket, disk, clock, timer, random source, global state or `async`. What a pure room needs of the world
   * comes in as an argument, and that is what lets the simulator run the very code that ships.
   */
  readonly pure: boolean
  /** The packages it may import. `node:` modules stand here for a pure room only; the others may use them all. */
  readonly packages?: readonly Allowance[]
  /** The rooms of which it may import types, which are gone at run time, and nothing else. */
  readonly types?: readonly string[]
  /** In one sentence, what lives here. */
  readonly says: string
}

export interface Allowance {
  /** A package, a `node:` module, or everything below one, written with a slash and a star. */
  readonly name: string
  /** Only below this folder; everywhere in the room without it. */
  readonly under?: string
  readonly why: string
}

const machineParts: readonly string[] = ['base/', 'crdt/', 'merge/', 'wire/', 'replica/', 'anti-entropy/', 'gossip/']

/** The contracts, not the adapters behind them: only a composition root picks an adapter. */
const contracts: readonly string[] = ['store/store.ts', 'transport/transport.ts', 'observe/']

const adapters: readonly string[] = ['store/', 'transport/']

const driverParts: readonly string[] = [
  ...machineParts,
  'recipes/',
  'node/figures.ts',
  'node/links.ts',
  'node/machine.ts',
  ...contracts,
]

const embedded: readonly string[] = [...driverParts, 'node/', ...adapters]

/** What `skein` offers is put together here. */
const compositions: readonly string[] = ['open.ts', 'open-or-connect.ts', 'backup.ts', 'client/']

const standardSchema: Allowance = {
  name: '@standard-schema/spec',
  why: 'types only: the common interface of zod, valibot and arktype',
}

export const rooms: readonly Room[] = [
  {
    at: 'base/',
    imports: [],
    pure: true,
    says: 'Bytes, hashes, random numbers from a seed, assertions, limits and the registry of errors.',
  },
  {
    at: 'crdt/',
    imports: ['base/'],
    pure: true,
    packages: [
      {
        name: 'node:zlib',
        under: 'crdt/types/',
        why: 'inflating a compressed document chunk is synchronous and gives the same bytes everywhere',
      },
      { name: 'yjs', under: 'crdt/types/', why: 'the text type is a Yjs document' },
      { name: 'node:module', under: 'crdt/types/', why: 'document libraries are loaded when they are first needed' },
      { name: 'node:url', under: 'crdt/types/', why: 'where such a library stands, as a path' },
      { name: 'lib0/*', under: 'crdt/types/', why: 'the byte codec that Yjs updates are written with' },
      { name: '@automerge/automerge', under: 'crdt/types/', why: 'the doc type is an Automerge document' },
      { name: '@automerge/automerge/*', under: 'crdt/types/', why: 'entry points of the same package' },
    ],
    says: 'Dots, vectors, the hybrid clock and cells; one file per type below types/.',
  },
  {
    at: 'merge/',
    imports: ['base/', 'crdt/'],
    pure: true,
    says: 'Semantic conflicts: rules, findings at the door, cases, resolutions.',
  },
  {
    at: 'wire/',
    imports: ['base/', 'crdt/'],
    pure: true,
    packages: [
      {
        name: 'node:zlib',
        why: 'packing a packet is synchronous and bounded; what comes out of an envelope is the same everywhere',
      },
    ],
    says: 'Frames, their limits and their total decoder.',
  },
  {
    at: 'replica/',
    imports: ['base/', 'crdt/', 'merge/', 'wire/'],
    pure: true,
    says: 'Spaces and the one door through which every change enters: log, tree, cut, history.',
  },
  {
    at: 'anti-entropy/',
    imports: ['base/', 'crdt/', 'wire/', 'replica/'],
    pure: true,
    says: 'Who differs from whom, and the exchange that mends it.',
  },
  {
    at: 'gossip/',
    imports: ['base/', 'wire/'],
    pure: true,
    says: 'Membership and broadcast. Knows dots, no CRDT type.',
  },
  { at: 'store/store.ts', imports: ['base/'], pure: false, says: 'The contract of a store.' },
  {
    at: 'store/',
    imports: ['base/', 'store/store.ts'],
    pure: false,
    packages: [{ name: 'level', why: 'the default store' }],
    says: 'Stores: one file per adapter.',
  },
  { at: 'transport/transport.ts', imports: ['base/'], pure: false, says: 'The contract of a transport.' },
  {
    at: 'transport/',
    imports: ['base/', 'transport/transport.ts'],
    pure: false,
    packages: [
      { name: 'ws', why: 'the default transport' },
      { name: 'libp2p', why: 'the other transport, loaded when it is asked for' },
      { name: '@libp2p/*', why: 'its parts' },
      { name: '@chainsafe/*', why: 'its noise and yamux' },
      { name: '@multiformats/multiaddr', why: 'its addresses' },
    ],
    says: 'Transports: one file per adapter.',
  },
  {
    at: 'observe/',
    imports: ['base/'],
    pure: false,
    packages: [
      { name: 'pino', why: 'writes the log' },
      { name: 'prom-client', why: 'keeps the metrics and writes their text format' },
      { name: '@opentelemetry/api', why: 'the interface of traces; whoever wants them loads an SDK' },
    ],
    says: 'Metrics, log and trace.',
  },
  {
    at: 'recipes/',
    imports: ['base/'],
    pure: false,
    says: 'What programs do with handles, wherever the node is: holding claims, taking tasks, JSON lines.',
  },
  {
    at: 'node/links.ts',
    imports: [...machineParts, 'node/fresh-delta.ts'],
    pure: true,
    says: 'Whom to dial, the greeting, one link a node, and what is sent over it.',
  },
  {
    at: 'node/figures.ts',
    imports: machineParts,
    pure: true,
    says: 'What whoever counts may hear of the machine.',
  },
  {
    at: 'node/fresh-delta.ts',
    imports: machineParts,
    pure: true,
    says: 'What was written just now, as one packet for all.',
  },
  {
    at: 'node/input-output.ts',
    imports: [...machineParts, 'node/links.ts'],
    pure: true,
    says: 'What a machine is fed, what it wants done and what it tells.',
  },
  {
    at: 'node/rights-desk.ts',
    imports: machineParts,
    pure: true,
    says: 'When rights of budgets are asked for and given.',
  },
  {
    at: 'node/machine.ts',
    imports: [
      ...machineParts,
      'node/figures.ts',
      'node/fresh-delta.ts',
      'node/input-output.ts',
      'node/links.ts',
      'node/rights-desk.ts',
    ],
    pure: true,
    says: 'All protocols composed into one machine, still a value that you feed.',
  },
  {
    at: 'node/',
    imports: driverParts,
    pure: false,
    packages: [
      standardSchema,
      { name: 'fastify', under: 'node/http/', why: 'the HTTP server: routing, validation and serialisation by schema' },
      { name: 'ws', under: 'node/http/', why: 'the WebSocket of the stream' },
    ],
    says: 'The driver loop round the machine, the handles, HTTP. It obeys and decides nothing.',
  },
  {
    at: 'client/',
    imports: ['base/', 'recipes/'],
    types: ['node/', 'crdt/', 'merge/', 'replica/'],
    pure: false,
    packages: [{ name: 'ws', why: 'the WebSocket of the stream: Node has none that takes a socket file or a token' }],
    says: 'A node in another process, through its stream. Nothing of the node is loaded.',
  },
  {
    at: 'open.ts',
    imports: embedded,
    pure: false,
    packages: [standardSchema],
    says: 'openNode: the composition root of an embedded node.',
  },
  {
    at: 'open-or-connect.ts',
    imports: [...embedded, 'open.ts', 'client/'],
    pure: false,
    says: 'openOrConnect: one node for the processes of a host, in the first of them.',
  },
  {
    at: 'backup.ts',
    imports: embedded,
    pure: false,
    says: 'Backup and restore of a data directory, which needs the node and its store together.',
  },
  {
    at: 'index.ts',
    imports: [...embedded, ...compositions],
    pure: false,
    packages: [standardSchema],
    says: 'What `skein` exports.',
  },
  {
    at: 'sim/',
    imports: [...machineParts, 'node/machine.ts'],
    pure: true,
    says: 'The deterministic world: virtual time, seeded faults, checkers. It runs machines, as pure as they are.',
  },
  {
    at: 'testing/',
    imports: [...embedded, ...compositions, 'index.ts', 'sim/'],
    pure: false,
    says: 'What `skein/testing` exports.',
  },
  {
    at: 'cli/',
    imports: [...embedded, ...compositions, 'index.ts', 'sim/', 'testing/'],
    pure: false,
    says: 'The command line: the composition root of a daemon.',
  },
]

/** Where the program starts: every file of src/ must be reachable from one of these, or from a test. */
export const entryPoints: readonly string[] = [
  'src/index.ts',
  'src/client/index.ts',
  'src/cli/main.ts',
  'src/testing/index.ts',
]

/**
 * Files that prove things need no purity. Laws and suites are tests that are handed their subject, a kit is what the
 * tests of a folder share; no product code imports any of them.
 */
export const testSuffixes: readonly string[] = ['.test.ts', '.laws.ts', '.suite.ts', '.test-kit.ts', '.test-model.ts']

/** Names of the global scope that a pure room never reads, each with what takes its place. */
export const impureGlobals: Readonly<Record<string, string>> = {
  Date: 'time comes in as nowMs',
  performance: 'time comes in as nowMs',
  setTimeout: 'a timer is an output',
  setInterval: 'a timer is an output',
  setImmediate: 'a timer is an output',
  queueMicrotask: 'an order of events is the order of outputs',
  process: 'the environment belongs to the driver',
  console: 'what is worth telling is an output',
  fetch: 'a message is an output',
  crypto: 'chance comes in as a seeded generator, a hash from base/',
  globalThis: 'it is the door to all the others',
  Promise: 'a pure step ends when it returns',
}

/** The longest file; beyond it there usually hides a second noun (js-libp2p's gossipsub.ts is the warning). */
export const fileLines: number = 900

/** The largest tracked file: everything here is text that somebody reads. */
export const blobBytes: number = 300 * 1024
