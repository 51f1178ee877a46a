/**
 * How the values of settings are written and read: addresses, sizes, times, choices, lists. A reader takes what a flag or
 * a variable holds (text) or what a file holds (JSON), and throws a sentence when it is neither.
 */
import { isIP } from 'node:net'
import { limits } from '../base/limits.ts'
import { didYouMean } from '../base/nearest.ts'
import { utf8Length } from '../base/bytes.ts'
import { logLevels, logParts } from '../observe/levels.ts'
import { parseFleetKey } from './security/fleet-key.ts'
import type { LogLevel, LogLevels, LogPart } from '../observe/levels.ts'

export interface Reader<T> {
  /** What stands for the value in help: `DIR`, `HOST:PORT`. */
  readonly takes: string
  readonly many?: true
  /** Words that a shell can complete. */
  readonly words?: readonly string[]
  read(value: unknown): T
  show(value: T): string
}

export interface ListenAt {
  readonly host: string
  readonly port: number
}

/** Somebody to begin with. `dns`: every address of the name is one. */
export type JoinAt = { readonly kind: 'address'; readonly address: string } | ({ readonly kind: 'dns' } & ListenAt)

function text(value: unknown, what: string): string {
  if (typeof value !== 'string') throw new TypeError(`it must be ${what}, not ${JSON.stringify(value)}`)
  const trimmed = value.trim()
  if (/\p{Cc}/u.test(trimmed)) throw new TypeError('it holds a control character')
  return trimmed
}

export function plain(takes: string, empty?: 'may be empty'): Reader<string> {
  return {
    takes,
    read: (value) => {
      const read = text(value, 'a text')
      if (read === '' && empty === undefined) throw new TypeError('it is empty')
      if (utf8Length(read) > limits.zoneBytes && empty !== undefined) {
        throw new TypeError(`it is longer than ${limits.zoneBytes} bytes`)
      }
      return read
    },
    show: (value) => value ?? '',
  }
}

export const keyText: Reader<string> = {
  takes: 'KEY',
  read: (value) => {
    const key = text(value, 'a text')
    // It says what is wrong without repeating the key.
    parseFleetKey(key)
    return key
  },
  show: () => '(set)',
}

export function list<T>(one: Reader<T>): Reader<readonly T[]> {
  return {
    takes: one.takes,
    many: true,
    read: (value) => {
      const items = Array.isArray(value) ? value : text(value, 'a text or a list').split(',')
      // `--join a,b --join c`: a repeated flag may hold lists too.
      const words = items.flatMap((item: unknown) => (typeof item === 'string' ? item.split(',') : [item]))
      return words.filter((item) => typeof item !== 'string' || item.trim() !== '').map((item) => one.read(item))
    },
    show: (values) => values.map((value) => one.show(value)).join(','),
  }
}

export function choice<const T extends string>(words: readonly T[]): Reader<T> {
  return {
    takes: words.join('|'),
    words,
    read: (value) => {
      const read = text(value, `one of ${words.join(', ')}`)
      const found = words.find((word) => word === read)
      if (found === undefined)
        throw new TypeError(`${read} is not one of ${words.join(', ')}.${didYouMean(read, words)}`)
      return found
    },
    show: (value) => value,
  }
}

type Units = readonly (readonly [name: string, factor: number])[]

const sizes: Units = [
  ['B', 1],
  ['kB', 1e3],
  ['MB', 1e6],
  ['GB', 1e9],
  ['KiB', 2 ** 10],
  ['MiB', 2 ** 20],
  ['GiB', 2 ** 30],
  ['TiB', 2 ** 40],
]

const times: Units = [
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]

function amount(takes: string, example: string, units: Units): Reader<number> {
  return {
    takes,
    read: (value) => {
      if (typeof value === 'number') return whole(value)
      const written = text(value, `a number, or a text such as ${example}`)
      const [, number, unit = ''] = /^(\d[\d_]*(?:\.\d+)?)\s*([a-z]*)$/i.exec(written) ?? []
      if (number === undefined) throw new TypeError(`${written} is not a number, or a text such as ${example}`)
      const found = unit === '' ? units[0] : units.find(([name]) => name.toLowerCase() === unit.toLowerCase())
      if (found === undefined) {
        throw new TypeError(`${unit} is no unit; there are ${units.map(([name]) => name).join(', ')}`)
      }
      return whole(Math.round(Number(number.replaceAll('_', '')) * found[1]))
    },
    show: (value) => {
      const fitting = units.filter(([, factor]) => value >= factor && value % factor === 0)
      const [name, factor] = fitting.reduce((most, one) => (one[1] > most[1] ? one : most), ['', 1] as const)
      return `${value / factor}${name}`
    },
  }
}

function whole(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`${value} is not a whole number from 0`)
  return value
}

export const bytes: Reader<number> = amount('SIZE', '64MiB', sizes)
export const duration: Reader<number> = amount('TIME', '24h', times)

function endpoint(written: string): ListenAt {
  const [, bracketed, plainHost, port] = /^(?:\[([^\]]+)\]|([^:/\s]*)):(\d{1,5})$/.exec(written) ?? []
  const host = bracketed ?? plainHost
  if (host === undefined || port === undefined)
    throw new TypeError(`${written} is not HOST:PORT, such as 127.0.0.1:7400 or [::1]:7400`)
  if (Number(port) > 65_535) throw new TypeError(`${port} is no port: they end at 65535`)
  if (bracketed !== undefined && isIP(bracketed) !== 6) throw new TypeError(`${bracketed} is no IPv6 address`)
  if (!/^[\w.:%-]*$/.test(host)) throw new TypeError(`${host} is no host name`)
  return { host, port: Number(port) }
}

export function endpointText({ host, port }: ListenAt): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

export const listenText: Reader<ListenAt | undefined> = {
  takes: 'HOST:PORT',
  words: ['none'],
  read: (value) => {
    const written = text(value, 'HOST:PORT or none')
    if (written === 'none') return undefined
    const read = endpoint(written.replace(/^(?:wss?|https?):\/\//, '').replace(/\/$/, ''))
    return read.host === '' ? { ...read, host: '0.0.0.0' } : read
  },
  show: (value) => (value === undefined ? 'none' : endpointText(value)),
}

const schemes: readonly string[] = ['ws', 'wss']

export const joinText: Reader<JoinAt> = {
  takes: 'ADDRESS',
  read: (value) => {
    const written = text(value, 'an address')
    // As libp2p writes addresses; its own parser judges the rest.
    if (written.startsWith('/')) return { kind: 'address', address: written }
    const {
      scheme = 'ws',
      dns,
      rest = '',
    } = /^(?:(?<scheme>\w+):\/\/|(?<dns>dns:))?(?<rest>.*?)\/?$/.exec(written)?.groups ?? {}
    if (!schemes.includes(scheme)) {
      throw new TypeError(`${scheme}:// is not spoken here: write ws://HOST:PORT, wss://HOST:PORT or dns:NAME:PORT`)
    }
    const at = endpoint(rest)
    if (at.host === '' || at.port === 0) throw new TypeError(`${written} names no host and port to dial`)
    return dns === undefined ? { kind: 'address', address: `${scheme}://${endpointText(at)}` } : { kind: 'dns', ...at }
  },
  show: (value) => (value.kind === 'dns' ? `dns:${endpointText(value)}` : value.address),
}

/** `/ip4/0.0.0.0/tcp/7402`: its own parser judges it, once somebody listens there. */
export const multiaddressText: Reader<string> = {
  takes: 'MULTIADDR',
  read: (value) => {
    const written = text(value, 'an address such as /ip4/127.0.0.1/tcp/7402')
    if (!written.startsWith('/')) throw new TypeError(`${written} is not like /ip4/127.0.0.1/tcp/7402`)
    return written
  },
  show: (value) => value,
}

export const addressText: Reader<string | undefined> = {
  takes: 'ADDRESS',
  read: (value) => {
    const read = joinText.read(value)
    if (read.kind === 'dns') throw new TypeError('others dial one address, not a name with many')
    return read.address
  },
  show: (value) => value ?? '',
}

/** Something outside that is called: a webhook, a command, or the log. */
export type EndpointAt =
  | { readonly kind: 'webhook'; readonly url: string }
  | { readonly kind: 'command'; readonly command: readonly string[] }
  | { readonly kind: 'log' }

function webhookOrCommand(written: string): EndpointAt {
  const [, command] = /^command:(.*)$/s.exec(written) ?? []
  if (command !== undefined) {
    const words = command.trim().split(/\s+/)
    if (!words[0]?.startsWith('/')) throw new TypeError(`${written}: a command is an absolute path, and arguments`)
    return { kind: 'command', command: words }
  }
  if (!/^https?:\/\//.test(written) || !URL.canParse(written)) {
    throw new TypeError(`${written} is neither https://… nor command:/path/of/a/program`)
  }
  return { kind: 'webhook', url: written }
}

function endpointShown(at: EndpointAt): string {
  return at.kind === 'webhook' ? at.url : at.kind === 'command' ? `command:${at.command.join(' ')}` : 'log'
}

export const targetText: Reader<EndpointAt> = {
  takes: 'TARGET',
  words: ['log'],
  read: (value) => {
    const written = text(value, 'a target')
    return written === 'log' ? { kind: 'log' } : webhookOrCommand(written)
  },
  show: endpointShown,
}

export interface NamedEndpoint {
  readonly name: string
  readonly at: EndpointAt
}

export const namedEndpoint: Reader<NamedEndpoint> = {
  takes: 'NAME=TARGET',
  read: (value) => {
    const written = text(value, 'NAME=https://…')
    const [, name = '', rest = ''] = /^([^=]+)=(.*)$/s.exec(written) ?? []
    if (name.trim() === '') throw new TypeError(`${written} is not NAME=https://… or NAME=command:/path`)
    return { name: name.trim(), at: webhookOrCommand(rest.trim()) }
  },
  show: ({ name, at }) => `${name}=${endpointShown(at)}`,
}

/** What signs webhooks. Shorter ones could be guessed. */
export const secretText: Reader<string | undefined> = {
  takes: 'SECRET',
  read: (value) => {
    const secret = text(value, 'a text')
    if (secret.length < 16) throw new TypeError('it is shorter than 16 characters')
    return secret
  },
  show: () => '(set)',
}

/** The host of an address to dial; undefined where it has none of its own. */
export function hostOf(at: JoinAt): string | undefined {
  if (at.kind === 'dns') return at.host
  const [, first] = /^\/(?:ip4|ip6|dns[46]?)\/([^/]+)\//.exec(at.address) ?? []
  if (first !== undefined) return first
  const [, bracketed, host] = /^\w+:\/\/(?:\[([^\]]+)\]|([^:]*)):/.exec(at.address) ?? []
  return bracketed ?? host
}

export const pattern: Reader<string> = {
  takes: 'SPACE',
  read: (value) => {
    const read = text(value, 'a name')
    if (/\*./.test(read)) throw new TypeError(`${read}: a star stands at the end only`)
    return read
  },
  show: (value) => value,
}

/** Does one of these names and prefixes name the space? */
export function holdsSpace(patterns: readonly string[], space: string): boolean {
  return patterns.some((one) => (one.endsWith('*') ? space.startsWith(one.slice(0, -1)) : one === space))
}

export const levelsText: Reader<LogLevels> = {
  takes: 'LEVELS',
  words: logLevels,
  read: (value) => {
    let all: LogLevel = 'info'
    const parts: Partial<Record<LogPart, LogLevel>> = {}
    for (const word of text(value, 'levels such as info,gossip=debug').split(',')) {
      const [first = '', second] = word.trim().split('=')
      if (second === undefined) all = choice(logLevels).read(first)
      else parts[choice(logParts).read(first)] = choice(logLevels).read(second)
    }
    return { all, parts }
  },
  show: ({ all, parts }) => [all, ...Object.entries(parts).map(([part, level]) => `${part}=${level}`)].join(','),
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}
