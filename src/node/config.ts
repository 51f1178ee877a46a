/**
 * The settings of a node: one table, one precedence. A setting comes from its flag, else its environment variable, else
 * the configuration file, else its default; nothing else is read anywhere. What is wrong is found before anything is
 * opened, all of it at once, each with where it stands and what was likely meant.
 *
 * Names follow from the name in the table: `keepMs` is `--keep-ms`, `SKEIN_KEEP_MS` and `"keepMs"` in the file.
 * docs/CONFIG.md is generated from here.
 */
import { didYouMean } from '../base/nearest.ts'
import type { Durability } from '../store/store.ts'
import type { LogLevels } from '../observe/levels.ts'
import {
  addressText,
  bytes,
  choice,
  duration,
  endpointText,
  hostOf,
  isLoopback,
  joinText,
  keyText,
  levelsText,
  list,
  listenText,
  multiaddressText,
  namedEndpoint,
  pattern,
  plain,
  secretText,
  targetText,
} from './config-values.ts'
import type { EndpointAt, JoinAt, ListenAt, NamedEndpoint, Reader } from './config-values.ts'

export interface Config {
  readonly dir: string
  readonly listen: ListenAt | undefined
  readonly http: ListenAt | undefined
  readonly httpCert: string | undefined
  readonly httpKey: string | undefined
  readonly httpNames: readonly string[]
  readonly httpOrigins: readonly string[]
  readonly join: readonly JoinAt[]
  readonly advertise: string | undefined
  readonly fleetKey: string | undefined
  readonly fleetKeyFile: string | undefined
  readonly oldFleetKeys: readonly string[]
  readonly tlsCert: string | undefined
  readonly tlsKey: string | undefined
  readonly tlsCa: string | undefined
  readonly zone: string
  readonly spaces: readonly string[]
  readonly durability: Durability
  readonly keepMs: number
  readonly keepBytes: number
  readonly cacheBytes: number
  readonly log: LogLevels
  readonly transport: 'ws' | 'libp2p'
  readonly libp2pListen: readonly string[]
  readonly libp2pRelay: 'off' | 'on'
  readonly libp2pDiscover: 'off' | 'on'
  readonly conflictTargets: readonly EndpointAt[]
  readonly conflictResolvers: readonly NamedEndpoint[]
  readonly conflictActions: readonly NamedEndpoint[]
  readonly conflictSecret: string | undefined
  readonly conflictPrivate: 'off' | 'on'
}

export interface Setting<T> {
  readonly reader: Reader<T>
  /** As somebody would write it; undefined where there is none. */
  readonly fallback: string | readonly string[] | undefined
  /** It is never shown, and has no flag: a command line can be read by everybody on the host. */
  readonly secret?: true
  readonly help: string
}

export type SettingName = keyof Config
export type Settings = { readonly [Name in SettingName]: Setting<Config[Name]> }

export const settings: Settings = {
  dir: { reader: plain('DIR'), fallback: 'skein-data', help: 'The data directory; made when it is not there.' },
  listen: {
    reader: listenText,
    fallback: '127.0.0.1:7400',
    help: 'Where peers reach this node. Port 0 takes a free one; `none` listens for nobody.',
  },
  http: {
    reader: listenText,
    fallback: '127.0.0.1:7401',
    help: 'Where programs and this command line reach it; `none` for no HTTP.',
  },
  httpCert: { reader: plain('FILE'), fallback: undefined, help: 'Certificate chain (PEM): HTTP is spoken over TLS.' },
  httpKey: { reader: plain('FILE'), fallback: undefined, help: 'Its private key (PEM).' },
  httpNames: {
    reader: list(plain('NAME')),
    fallback: [],
    help: 'Names by which HTTP requests may call this host, beside those of loopback and the address it listens on.',
  },
  httpOrigins: {
    reader: list(plain('ORIGIN')),
    fallback: [],
    help: 'Web pages that may ask: `https://ops.example`. Others are refused, since a browser would let any page ask.',
  },
  join: {
    reader: list(joinText),
    fallback: [],
    help: 'Nodes to begin with: `ws://host:7400`, `host:7400`, or `dns:name:7400` for every address that a name has. Several by repeating the flag, or with commas.',
  },
  advertise: {
    reader: addressText,
    fallback: undefined,
    help: 'The address at which others can dial this node, where that is not the one it listens on.',
  },
  fleetKey: {
    reader: keyText,
    fallback: undefined,
    secret: true,
    help: 'The key that all nodes of a fleet share. No flag: use `fleetKeyFile`, or the environment.',
  },
  fleetKeyFile: {
    reader: plain('FILE'),
    fallback: undefined,
    help: 'A file with the fleet key in its first line, and in further lines keys that are accepted too. `skein key new` makes one.',
  },
  oldFleetKeys: {
    reader: list(keyText),
    fallback: [],
    secret: true,
    help: 'Keys that peers may still come with while the fleet changes its key. No flag.',
  },
  tlsCert: { reader: plain('FILE'), fallback: undefined, help: 'Certificate chain (PEM) for links with peers.' },
  tlsKey: { reader: plain('FILE'), fallback: undefined, help: 'Its private key (PEM).' },
  tlsCa: {
    reader: plain('FILE'),
    fallback: undefined,
    help: 'Certificates (PEM) that sign those of peers, where the system does not know them.',
  },
  zone: {
    reader: plain('NAME', 'may be empty'),
    fallback: '',
    help: 'Where the node stands: a rack, a data centre. Fewer links go between zones than within one.',
  },
  spaces: {
    reader: list(pattern),
    fallback: ['*'],
    help: 'The spaces of others that this node holds: names, or prefixes that end in `*`. Its own it always holds.',
  },
  durability: {
    reader: choice(['memory', 'os', 'disk']),
    fallback: 'disk',
    help: 'What `durable` means where a write does not say: `disk` survives the loss of power, `os` the end of the process.',
  },
  keepMs: { reader: duration, fallback: '1d', help: 'How long history is kept, and peers may be away without a copy.' },
  keepBytes: { reader: bytes, fallback: '64MiB', help: 'How much of it at most, for each space.' },
  cacheBytes: { reader: bytes, fallback: '32MiB', help: 'Memory for entries that are not being written.' },
  log: {
    reader: levelsText,
    fallback: 'info',
    help: 'How much is logged, for all parts or one by one: `info,gossip=debug`.',
  },
  transport: {
    reader: choice(['ws', 'libp2p']),
    fallback: 'ws',
    help: 'What `listen` is spoken in. A node dials both kinds of addresses: those that start with a slash over libp2p.',
  },
  libp2pListen: {
    reader: list(multiaddressText),
    fallback: [],
    help: 'Where peers reach this node over libp2p too: `/ip4/0.0.0.0/tcp/7402`, or through a relay `/ip4/…/tcp/…/p2p/…/p2p-circuit`.',
  },
  libp2pRelay: {
    reader: choice(['off', 'on']),
    fallback: 'off',
    help: 'Lets other members be reached through this node, by libp2p circuits.',
  },
  libp2pDiscover: {
    reader: choice(['off', 'on']),
    fallback: 'off',
    help: 'Looks for nodes of the fleet on the local network by mDNS, and answers those who look.',
  },
  conflictTargets: {
    reader: list(targetText),
    fallback: [],
    help: 'Who is told of conflicts: `https://…`, `command:/path/of/a/program` or `log`. The first is told when one is raised, each further one when it is overdue. The same on all nodes, since any of them may be the one that tells.',
  },
  conflictResolvers: {
    reader: list(namedEndpoint),
    fallback: [],
    help: 'Who is asked to propose how a conflict is settled, by the names that policies use: `model=https://…`.',
  },
  conflictActions: {
    reader: list(namedEndpoint),
    fallback: [],
    help: 'What can undo an effect, by the names that decisions use: `refund-back=https://…`.',
  },
  conflictSecret: {
    reader: secretText,
    fallback: undefined,
    secret: true,
    help: 'Signs what is sent to webhooks (HMAC-SHA256). No flag: use the environment or the file.',
  },
  conflictPrivate: {
    reader: choice(['off', 'on']),
    fallback: 'off',
    help: 'Lets webhooks be on this host or in its own network. Off, so that a URL cannot make the node ask what only it can reach.',
  },
}

export const settingNames: readonly SettingName[] = Object.keys(settings) as SettingName[]

/** `--keep-ms`, without the dashes; undefined for a secret. */
export function flagOf(name: SettingName): string | undefined {
  return settings[name].secret === true ? undefined : name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

export function environmentOf(name: SettingName): string {
  return `SKEIN_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
}

/** Variables that are not settings of a node but of the command line. */
const otherVariables: readonly string[] = ['SKEIN_CONFIG', 'SKEIN_NODE', 'SKEIN_TOKEN', 'SKEIN_AGENT']
/** What Kubernetes puts into every container near a service called `skein` or `skein-…`. */
const fromKubernetes = /_(SERVICE_HOST|SERVICE_PORT\w*|PORT(_\d+_\w+)?)$|^SKEIN_PORT$/

/** Where a value stands, in words. */
export type Source = string

export interface Mistake {
  readonly setting: SettingName | undefined
  readonly source: Source
  readonly what: string
}

interface KeyFile {
  readonly text: string
  readonly isPrivate: boolean
}

export interface ConfigSources {
  /** By the name of the setting; several for one flag that was repeated. */
  readonly flags?: Readonly<Partial<Record<SettingName, readonly string[]>>>
  readonly environment?: Readonly<Record<string, string | undefined>>
  readonly file?: { readonly path: string; readonly text: string }
  /** What `fleetKeyFile` holds, or why it cannot be read, once it is known which file that is. */
  readonly readKeyFile?: (path: string) => KeyFile
}

export interface Resolved {
  readonly config: Config
  readonly sources: Readonly<Record<SettingName, Source>>
  /** With one of these the node does not start. */
  readonly mistakes: readonly Mistake[]
  /** It starts, but somebody should know. */
  readonly warnings: readonly Mistake[]
}

export function resolveConfig({ flags = {}, environment = {}, file, readKeyFile }: ConfigSources): Resolved {
  const mistakes: Mistake[] = []
  const warnings: Mistake[] = []
  const inFile = file === undefined ? {} : fileSettings(file, mistakes)
  const values: Record<string, unknown> = {}
  const sources: Record<string, Source> = {}
  for (const name of settingNames) {
    const { reader, fallback } = settings[name]
    const read = (source: Source, value: unknown): void => {
      sources[name] = source
      try {
        values[name] = reader.read(value)
      } catch (error) {
        mistakes.push({ setting: name, source, what: (error as Error).message })
        values[name] = fallback === undefined ? undefined : reader.read(fallback)
      }
    }
    const [flag, variable] = [flags[name], environmentOf(name)]
    if (flag !== undefined) read(`--${flagOf(name) ?? name}`, flag.length === 1 ? flag[0] : flag)
    // An empty variable is how many tools say that there is none.
    else if (environment[variable] !== undefined && environment[variable] !== '') read(variable, environment[variable])
    else if (Object.hasOwn(inFile, name)) read(`${file?.path ?? ''}: ${name}`, inFile[name])
    else {
      sources[name] = 'default'
      // A list that nobody asks for is there, and empty.
      values[name] = fallback === undefined ? undefined : reader.read(fallback)
    }
  }
  for (const name of Object.keys(environment)) {
    if (!name.startsWith('SKEIN_') || otherVariables.includes(name) || fromKubernetes.test(name)) continue
    const known = settingNames.map(environmentOf)
    if (known.includes(name)) continue
    const what = `no setting is called ${name}.${didYouMean(name, known)}`
    warnings.push({ setting: undefined, source: name, what })
  }
  const config = values as unknown as Config
  const withKeys = readKeyFile === undefined ? config : keysFromFile(config, sources, readKeyFile, mistakes, warnings)
  checkTogether(withKeys, sources, mistakes, warnings)
  return { config: withKeys, sources: sources as Record<SettingName, Source>, mistakes, warnings }
}

function keysFromFile(
  config: Config,
  sources: Readonly<Record<string, Source>>,
  readKeyFile: (path: string) => KeyFile,
  mistakes: Mistake[],
  warnings: Mistake[],
): Config {
  const { fleetKeyFile } = config
  if (fleetKeyFile === undefined) return config
  const source = sources['fleetKeyFile'] ?? ''
  const mistake = (what: string): Config => {
    mistakes.push({ setting: 'fleetKeyFile', source, what })
    return config
  }
  if (config.fleetKey !== undefined)
    return mistake(`there is a fleet key already, from ${sources['fleetKey'] ?? ''}: keep one`)
  try {
    const { text, isPrivate } = readKeyFile(fleetKeyFile)
    const [fleetKey, ...more] = keysIn(text)
    if (fleetKey === undefined) return mistake(`${fleetKeyFile} holds no key; \`skein key new\` makes one`)
    if (!isPrivate) {
      const what = `others on this host can read ${fleetKeyFile}: chmod 600 it`
      warnings.push({ setting: 'fleetKeyFile', source, what })
    }
    return { ...config, fleetKey, oldFleetKeys: [...config.oldFleetKeys, ...more] }
  } catch (error) {
    return mistake((error as Error).message)
  }
}

/** The keys of a key file: one a line, the one in use first; lines that begin with # are remarks. */
export function keysIn(text: string): string[] {
  const lines = text.split('\n').map((line) => line.trim())
  return lines.filter((line) => line !== '' && !line.startsWith('#')).map((line) => keyText.read(line))
}

/** What is right alone and wrong, or unsafe, together. */
function checkTogether(
  config: Config,
  sources: Readonly<Record<string, Source>>,
  mistakes: Mistake[],
  warnings: Mistake[],
): void {
  const at = (setting: SettingName, what: string): Mistake => ({ setting, source: sources[setting] ?? '', what })
  const { listen, http, advertise, fleetKey, oldFleetKeys, join } = config
  const hasKey = fleetKey !== undefined || config.fleetKeyFile !== undefined
  if (listen !== undefined && !isLoopback(listen.host) && !hasKey) {
    const what = `${listen.host} can be reached from other hosts, and without a fleet key everybody there could join and write. Make one with \`skein key new\` and give it as --fleet-key-file, or listen on 127.0.0.1`
    mistakes.push(at('listen', what))
  }
  const reached = config.libp2pListen.find((address) => !isLoopback(hostOf({ kind: 'address', address }) ?? ''))
  if (reached !== undefined && !hasKey) {
    mistakes.push(at('libp2pListen', `${reached} can be reached from other hosts: that needs a fleet key`))
  }
  if (config.libp2pDiscover === 'on' && !hasKey) {
    mistakes.push(at('libp2pDiscover', 'others on the local network would find this node: that needs a fleet key'))
  }
  if (http !== undefined && !isLoopback(http.host) && config.httpCert === undefined) {
    const what = `${http.host} can be reached from other hosts, and tokens travel in the clear: give it a certificate with --http-cert and --http-key, or put a proxy before it that speaks TLS`
    warnings.push(at('http', what))
  }
  if (oldFleetKeys.length > 0 && !hasKey)
    mistakes.push(at('oldFleetKeys', 'there are old keys, but none in use: set the fleet key'))
  for (const [cert, key] of [
    ['tlsCert', 'tlsKey'],
    ['httpCert', 'httpKey'],
  ] as const) {
    if ((config[cert] === undefined) === (config[key] === undefined)) continue
    const [there, missing] = config[cert] === undefined ? [key, cert] : [cert, key]
    mistakes.push(at(there, `it needs --${flagOf(missing) ?? ''} beside it`))
  }
  if (
    listen !== undefined &&
    http !== undefined &&
    listen.port !== 0 &&
    listen.port === http.port &&
    listen.host === http.host
  ) {
    mistakes.push(at('http', `peers listen on ${http.host}:${http.port} already: take another port`))
  }
  if (advertise === undefined && listen !== undefined && isEverywhere(listen.host)) {
    const what = `it listens on all addresses and cannot tell which of them others reach: set --advertise, or nobody dials it`
    warnings.push(at('listen', what))
  }
  const own = listen === undefined ? undefined : `ws://${endpointText(listen)}`
  if (join.some((one) => one.kind === 'address' && one.address === own)) {
    warnings.push(at('join', `${own ?? ''} is this node itself`))
  }
  if (!hasKey && join.some((one) => !isLoopback(hostOf(one) ?? ''))) {
    warnings.push(at('join', 'there is no fleet key: only nodes without one will take this node'))
  }
  const named = [...config.conflictResolvers, ...config.conflictActions].map(({ at: endpoint }) => endpoint)
  const webhooks = [...config.conflictTargets, ...named]
  if (webhooks.some(({ kind }) => kind === 'webhook') && config.conflictSecret === undefined) {
    warnings.push(at('conflictTargets', 'webhooks are not signed: set conflictSecret, or they cannot tell who asks'))
  }
  if (config.durability === 'memory') {
    warnings.push(at('durability', 'a write counts as durable before any disk has it: a crash may lose it'))
  }
}

function isEverywhere(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

/** The settings of a configuration file: JSON, in which remarks after `//` and between slash and star are allowed. */
function fileSettings({ path, text }: { path: string; text: string }, mistakes: Mistake[]): Record<string, unknown> {
  const mistake = (what: string): Record<string, unknown> => {
    mistakes.push({ setting: undefined, source: path, what })
    return {}
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(withoutRemarks(text))
  } catch (error) {
    return mistake(`it is not JSON: ${whereInJson((error as Error).message, text)}`)
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return mistake('it must hold one object')
  const known: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(parsed)) {
    // What an editor needs in order to check the file is no setting.
    if (key === '$schema') continue
    if (Object.hasOwn(settings, key)) known[key] = value
    else
      mistakes.push({
        setting: undefined,
        source: `${path}: ${key}`,
        what: `no setting is called ${key}.${didYouMean(key, settingNames)}`,
      })
  }
  return known
}

/** Remarks become spaces, so that places in the text stay where they are. */
function withoutRemarks(text: string): string {
  return text.replaceAll(/"(?:[^"\\\n]|\\.)*"|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (part) =>
    part.startsWith('"') ? part : part.replaceAll(/[^\n]/g, ' '),
  )
}

/** V8 says `at position 17`; people count lines. */
function whereInJson(message: string, text: string): string {
  const [, position] = /at position (\d+)/.exec(message) ?? []
  const plainly = message.replace(/ in JSON at position \d+.*$| \(line \d+ column \d+\)$/s, '')
  if (position === undefined) return plainly
  const before = text.slice(0, Number(position)).split('\n')
  return `${plainly}, line ${before.length}, column ${(before.at(-1) ?? '').length + 1}`
}

/** A value as it would be written, for people; secrets only by their being there. */
export function showSetting(name: SettingName, config: Config): string {
  const value = config[name]
  if (settings[name].secret === true) {
    const isSet = Array.isArray(value) ? value.length > 0 : value !== undefined
    return isSet ? '(set)' : ''
  }
  return (settings[name] as Setting<unknown>).reader.show(value)
}
