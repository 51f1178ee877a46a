/** Opening a node inside a process: the one place, beside the command line, that picks adapters. */
import { createHash, randomBytes } from 'node:crypto'
import { utf8Length } from './base/bytes.ts'
import { SkeinError } from './base/errors.ts'
import type { Retention } from './replica/space.ts'
import { SkeinNode } from './node/node.ts'
import type { NetworkConfig, Observer } from './node/node.ts'
import { holdsSpace } from './node/config-values.ts'
import { RegisteredRules } from './node/custom-rules.ts'
import type { CustomRule } from './node/custom-rules.ts'
import type { Durability } from './node/receipt.ts'
import { parseFleetKeys } from './node/security/fleet-key.ts'
import { ephemeralIdentity, openIdentity } from './node/security/identity.ts'
import { checkDurability, checkName, checkOptions } from './node/space-handle.ts'
import { endpointsOf } from './node/workflow/options.ts'
import type { WorkflowOptions } from './node/workflow/options.ts'
import { limits } from './base/limits.ts'
import { openLevelStore } from './store/level.ts'
import { openMemoryStore } from './store/memory.ts'
import { withNames } from './transport/names.ts'
import { isMultiaddress } from './transport/multiaddress.ts'
import type { Identity, Transport, TransportEvent } from './transport/transport.ts'
import { openWsTransport } from './transport/ws.ts'
import type { WsTls } from './transport/ws.ts'
import type { NodeId } from './wire/frame.ts'

export interface OpenOptions {
  /** The data directory, made when it is not there. */
  readonly dir?: string
  /** Keep nothing on disk. */
  readonly memory?: boolean
  /** Who writes where a write does not say. */
  readonly agent?: string
  /** What `durable` means where a write does not say: `disk` unless `memory`. */
  readonly durability?: Durability
  /** How long and how much history the log keeps. A day and 64 MiB a space unless told otherwise. */
  readonly log?: Partial<Retention>
  /** Memory for entries that are not being written, over all spaces. */
  readonly cacheBytes?: number
  /** What to do with a damaged directory: refuse to open it, or move it aside whole and start empty. */
  readonly onDamage?: 'refuse' | 'set-aside'
  /**
   * Where other nodes can dial this one: `ws://127.0.0.1:7400`, or over libp2p `/ip4/127.0.0.1/tcp/7400`; port 0 is any that is
   * free. Of several kinds the first is what others are told.
   */
  readonly listen?: string | readonly string[]
  /** Where other nodes reach this one, where that differs from `listen`: a name, a mapped port. */
  readonly advertise?: string | readonly string[]
  /** Nodes to begin with; the others of the fleet are heard of from them, and remembered. */
  readonly join?: string | readonly string[]
  /** The fleet's name, the same on all its nodes: nodes of another are refused. */
  readonly fleet?: string
  /**
   * What the nodes of the fleet know and nobody else; without it a node stays on this host. Of several all are accepted, and
   * the first is preferred: that is how keys are changed.
   */
  readonly fleetKey?: string | readonly string[]
  /** Certificates for `wss:` addresses, as PEM. */
  readonly tls?: WsTls
  /** What it talks over where no address says so. Addresses that start with a slash bring libp2p along, others ws. */
  readonly transport?: 'ws' | 'libp2p'
  /** Of libp2p: lets other members be reached through this node; looks for nodes on the local network, by mDNS. */
  readonly libp2p?: { readonly relay?: boolean; readonly discover?: boolean }
  /** Where the node stands: broadcast prefers neighbours of its own zone. */
  readonly zone?: string
  /** Which of the spaces that others have this node holds too: all, or those with these names; `runs-*` names by prefix. */
  readonly spaces?: 'all' | readonly string[]
  /** Do logs wait for every member that was ever met, or for those that an operator adds? */
  readonly roster?: 'auto' | 'manual'
  /** Carriers of the program's own, in place of the WebSocket one. */
  readonly transports?: readonly Transport[]
  /** Whom to tell of conflicts, whom to ask about them, and what can undo what they have done. */
  readonly conflicts?: WorkflowOptions
  /** Functions for rules of kind `custom`, which name them. */
  readonly customRules?: readonly CustomRule[]
  /** What happens in the node, for logs and metrics. */
  readonly observer?: Observer
  /** What transports tell of connections that were refused or ended badly. */
  readonly tell?: (event: TransportEvent) => void
}

const known: ReadonlySet<string> = new Set([
  'dir',
  'memory',
  'agent',
  'durability',
  'log',
  'cacheBytes',
  'onDamage',
  'listen',
  'advertise',
  'join',
  'fleet',
  'fleetKey',
  'tls',
  'transport',
  'libp2p',
  'zone',
  'spaces',
  'roster',
  'transports',
  'conflicts',
  'customRules',
  'observer',
  'tell',
] satisfies (keyof OpenOptions)[])

const dayMs = 24 * 60 * 60 * 1000

export async function openNode(options: OpenOptions): Promise<SkeinNode> {
  if (typeof options !== 'object' || options === null) throw invalid('give an object with a dir, or memory: true')
  for (const name of Object.keys(options)) {
    if (!known.has(name)) throw invalid(`${name} is not an option; there are ${[...known].join(', ')}`)
  }
  const { dir, memory = false, agent = 'local', onDamage = 'refuse', cacheBytes = 32 * 1024 * 1024 } = options
  if ((dir === undefined) === !memory) throw invalid('give a dir, or memory: true')
  if (dir !== undefined && (typeof dir !== 'string' || dir === '')) throw invalid('dir is a path')
  checkName(agent, 'agent name', limits.agentBytes)
  const durability = checkDurability(options.durability ?? (memory ? 'memory' : 'disk'))
  if (memory && durability !== 'memory') throw invalid(`with memory: true nothing is kept at durability ${durability}`)
  if (onDamage !== 'refuse' && onDamage !== 'set-aside') throw invalid('onDamage is refuse or set-aside')
  const log = options.log === undefined ? {} : checkOptions(options.log, ['keepMs', 'keepBytes'])
  const retention = { keepMs: dayMs, keepBytes: 64 * 1024 * 1024, ...log }
  for (const [name, value] of Object.entries({ cacheBytes, ...retention })) {
    if (!(typeof value === 'number' && value >= 0)) throw invalid(`${name} must be a number from 0`)
  }
  const networking = networkingOf(options)
  const workflow = options.conflicts && endpointsOf(options.conflicts)
  const { observer, customRules = [] } = options
  if (!Array.isArray(customRules)) throw invalid('customRules is an array')
  const custom = new RegisteredRules(customRules)
  let opened: SkeinNode | undefined
  const store = dir === undefined ? openMemoryStore() : await openLevelStore({ dir, onDamage })
  try {
    // The store is locked and understood by now, so the directory is ours to keep a key in.
    const identity = dir === undefined ? ephemeralIdentity() : await openIdentity(dir, SkeinNode.known(store))
    const network = await networking?.(identity, (node, address) =>
      opened?.network.feed({ kind: 'found', node, address }),
    )
    opened = await SkeinNode.open({
      store,
      node: identity.node,
      agent,
      durability,
      retention,
      cacheBytes,
      // Fresh from the system at every open: a restored or cloned disk gives no sign, so nothing on it may decide this.
      fresh: () => randomBytes(8).toString('hex'),
      now: Date.now,
      custom,
      ...(network && { network }),
      ...(workflow && { workflow }),
      ...(observer && { observer }),
    })
    return opened
  } catch (error) {
    await store.close()
    throw error
  }
}

type Found = (node: NodeId, address: string) => void

/** How it meets others, once it knows who it is; undefined for a replica that is purely local. */
function networkingOf(
  options: OpenOptions,
): ((identity: Identity, found: Found) => Promise<NetworkConfig>) | undefined {
  const listen = listOf('listen', options.listen)
  const join = listOf('join', options.join)
  const advertise = listOf('advertise', options.advertise)
  const fleetKeys = parseFleetKeys(listOf('fleetKey', options.fleetKey))
  const { fleet = 'default', zone = '', spaces = 'all', roster = 'auto', transports, transport = 'ws' } = options
  for (const [name, text] of Object.entries({ fleet, zone })) {
    if (typeof text !== 'string' || !text.isWellFormed()) throw invalid(`${name} is a text`)
  }
  if (utf8Length(zone) > limits.zoneBytes) throw invalid(`zone is longer than ${limits.zoneBytes} bytes`)
  if (roster !== 'auto' && roster !== 'manual') throw invalid('roster is auto or manual')
  if (transport !== 'ws' && transport !== 'libp2p') throw invalid('transport is ws or libp2p')
  const libp2p = checkOptions(options.libp2p ?? {}, ['relay', 'discover'])
  const names = spaces === 'all' ? ['*'] : listOf('spaces', spaces)
  const discovers = libp2p.discover === true
  if (listen.length + join.length === 0 && transports === undefined && !discovers) return undefined
  return async (identity, found) => ({
    transports: transports ?? (await carriers({ listen, join, advertise, fleetKeys, identity, found }, options)),
    join,
    zone,
    fleet: fleetIdOf(fleet),
    roster,
    holds: (space) => holdsSpace(names, space),
  })
}

interface Meeting {
  readonly listen: readonly string[]
  readonly join: readonly string[]
  readonly advertise: readonly string[]
  readonly fleetKeys: readonly Uint8Array[]
  readonly identity: Identity
  readonly found: Found
}

/** One transport for each kind of address that is named, that of the first address to listen at first. */
async function carriers({ listen, join, advertise, ...more }: Meeting, options: OpenOptions): Promise<Transport[]> {
  const kindOf = (address: string): 'ws' | 'libp2p' => (isMultiaddress(address) ? 'libp2p' : 'ws')
  const kinds = new Set([...listen, ...join].map(kindOf))
  const { transport, libp2p } = options
  if (transport !== undefined || kinds.size === 0) kinds.add(transport ?? 'ws')
  if (libp2p?.discover === true || libp2p?.relay === true) kinds.add('libp2p')
  const opened: Transport[] = []
  for (const kind of kinds) {
    const of = {
      listen: listen.filter((one) => kindOf(one) === kind),
      advertise: advertise.filter((one) => kindOf(one) === kind),
    }
    opened.push(
      kind === 'ws' ? ws({ ...more, join, ...of }, options) : await overLibp2p({ ...more, join, ...of }, options),
    )
  }
  return opened
}

function ws({ listen, advertise, fleetKeys, identity }: Meeting, { tls, tell }: OpenOptions): Transport {
  const transport = openWsTransport({
    listen,
    ...(advertise.length > 0 && { advertise }),
    ...(fleetKeys.length > 0 && { security: { fleetKeys, identity } }),
    ...(tls && { tls }),
    ...(tell && { tell }),
  })
  return withNames(transport, tls === undefined ? 'ws' : 'wss')
}

/** Some hundred packages, which are loaded here and nowhere else. */
async function overLibp2p(
  { listen, advertise, fleetKeys, identity, found }: Meeting,
  { libp2p = {}, fleet = 'default', tell }: OpenOptions,
): Promise<Transport> {
  const { openLibp2pTransport } = await import('./transport/libp2p.ts').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new SkeinError(
      'transport_missing',
      'the packages of libp2p are not installed',
      { transport: 'libp2p' },
      error,
    )
  })
  return openLibp2pTransport({
    listen,
    ...(advertise.length > 0 && { advertise }),
    fleetKeys,
    identity,
    relay: libp2p.relay === true,
    ...(libp2p.discover === true && {
      discover: {
        name: `_skein-${fleetIdOf(fleet)}._udp.local`,
        found: (node: string, address: string) => found(node as NodeId, address),
      },
    }),
    ...(tell && { tell }),
  })
}

/** What links call a fleet. Not a secret: it only keeps those apart who were never meant to meet. */
function fleetIdOf(name: string): string {
  return createHash('sha256').update(`skein fleet ${name}`).digest('hex').slice(0, 16)
}

function listOf(name: string, value: string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return []
  const list = typeof value === 'string' ? [value] : value
  if (Array.isArray(list) && list.every((one) => typeof one === 'string' && one !== '')) return list as string[]
  throw invalid(`${name} is a text or a list of texts`)
}

function invalid(message: string): SkeinError {
  return new SkeinError('invalid_argument', `openNode: ${message}`)
}
