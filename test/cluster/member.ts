/** One real node: `skein up` as a process, with its directory, its key file and its log. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { ask } from './http.ts'
import type { Asked, Door } from './http.ts'

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const clock = fileURLToPath(new URL('clock.ts', import.meta.url))
const altered = fileURLToPath(new URL('altered.ts', import.meta.url))

/** A start reads the whole directory, on a machine that may be busy. */
const startWithinMs = 60_000
const stopWithinMs = 20_000

export interface MemberOptions {
  readonly index: number
  readonly home: string
  /** Where the others dial it. */
  readonly advertise: string
  readonly listen: string
  readonly join: readonly string[]
  readonly keepMs?: string
  /** Words before the command: `ip netns exec …`. */
  readonly prefix?: readonly string[]
  /** Reached over the socket in its directory, since loopback is another there. */
  readonly isApart?: boolean
  /** Its wall clock can be set. */
  readonly isAstray?: boolean
  readonly transport: 'ws' | 'libp2p'
}

/** Every process that was started and has not ended: nobody must outlive the tester. */
const living = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

export class Member {
  readonly index: number
  readonly home: string
  /** The data directory. */
  dir: string
  readonly log: string
  readonly #options: MemberOptions
  #child: ChildProcess | undefined
  #door: Door | undefined
  #agent = new Agent({ keepAlive: true })
  node = ''
  /** How often it was started. */
  life = 0
  /** What every start from now on is altered by. */
  alteration: string | undefined
  isPaused = false
  /** Ends that nobody here asked for. */
  readonly crashes: string[] = []
  #isEndWanted = false

  constructor(options: MemberOptions) {
    this.#options = options
    this.index = options.index
    this.home = options.home
    this.dir = join(options.home, 'data')
    this.log = join(options.home, 'log')
    mkdirSync(options.home, { recursive: true })
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  get isUp(): boolean {
    return this.#child !== undefined
  }

  get keyFile(): string {
    return join(this.home, 'fleet.key')
  }

  get #clockFile(): string {
    return join(this.home, 'clock')
  }

  /** Sets its wall clock, so far from that of everybody else. */
  skew(offsetMs: number): void {
    writeFileSync(this.#clockFile, String(offsetMs))
  }

  keys(...texts: readonly string[]): void {
    writeFileSync(this.keyFile, `${texts.join('\n')}\n`, { mode: 0o600 })
  }

  async start(): Promise<void> {
    const { advertise, listen, join: others, keepMs, prefix = [], isApart = false, transport } = this.#options
    const words = [
      ...prefix,
      process.execPath,
      ...(this.alteration === undefined ? [] : ['--import', altered]),
      ...(this.#options.isAstray === true ? ['--import', clock] : []),
      main,
      'up',
      '--json',
      '--dir',
      this.dir,
      '--listen',
      listen,
      '--advertise',
      advertise,
      '--transport',
      transport,
      '--http',
      '127.0.0.1:0',
      '--fleet-key-file',
      this.keyFile,
      '--log',
      process.env['CLUSTER_LOG'] ?? 'info',
      ...(keepMs === undefined ? [] : ['--keep-ms', keepMs]),
      ...others.flatMap((one) => ['--join', one]),
    ]
    const log = openSync(this.log, 'a')
    const env = {
      ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SKEIN_'))),
      ...(this.alteration !== undefined && { TEST_ALTERATION: this.alteration }),
      ...(this.#options.isAstray === true && { TEST_CLOCK: this.#clockFile }),
    }
    const [command = '', ...args] = words
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', log], env })
    closeSync(log)
    living.add(child)
    this.#child = child
    this.#isEndWanted = false
    this.isPaused = false
    this.life++
    const life = this.life
    child.once('exit', (code, signal) => {
      living.delete(child)
      if (this.#child === child) {
        this.#child = undefined
        this.#door = undefined
      }
      if (!this.#isEndWanted) this.crashes.push(`life ${life} ended with ${code ?? signal}`)
    })
    const ready = await new Promise<Readonly<Record<string, unknown>>>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`node ${this.index} was not ready in time`)), startWithinMs)
      const ended = (): void => {
        clearTimeout(late)
        reject(new Error(`node ${this.index} ended while it started: see ${this.log}`))
      }
      child.once('error', reject)
      child.once('exit', ended)
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).once('line', (line) => {
        clearTimeout(late)
        child.off('exit', ended)
        resolve(JSON.parse(line) as Readonly<Record<string, unknown>>)
      })
    })
    this.node = String(ready['node'])
    this.#agent.destroy()
    this.#agent = new Agent({ keepAlive: true })
    this.#door = isApart
      ? { socketPath: String(ready['socket']), agent: this.#agent }
      : { port: Number(new URL(String(ready['http'])).port), agent: this.#agent }
  }

  /** Ends it: as a crash would, or in order. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    this.#isEndWanted = true
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    if (this.isPaused && signal !== 'SIGKILL') this.resume()
    child.kill(signal)
    const late = setTimeout(() => child.kill('SIGKILL'), stopWithinMs)
    await ended
    clearTimeout(late)
    this.#agent.destroy()
  }

  pause(): void {
    this.isPaused = this.#child?.kill('SIGSTOP') ?? false
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
    this.isPaused = false
  }

  loseDisk(): void {
    rmSync(this.dir, { recursive: true, force: true })
  }

  /** The address for `--node` of the command line; undefined while it is down. */
  get url(): string | undefined {
    const door = this.#door
    if (door === undefined) return undefined
    return door.socketPath === undefined ? `http://127.0.0.1:${door.port}` : `unix:${door.socketPath}`
  }

  ask(method: string, path: string, options: Parameters<typeof ask>[3] = {}): Promise<Asked> {
    const door = this.#door
    return door === undefined ? Promise.resolve({ kind: 'refused' }) : ask(door, method, path, options)
  }
}
