/** A node process and commands, both as anybody would start them: through the door, with real arguments and exit codes. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'

const door = join(import.meta.dirname, '..', '..', 'bin', 'skein.js')

export interface Said {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

export interface RunOptions {
  readonly cwd?: string
  readonly input?: string
  readonly environment?: Readonly<Record<string, string>>
}

/** No setting of whoever runs the tests may leak in. */
function clean(more: Readonly<Record<string, string>> = {}): Record<string, string | undefined> {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('SKEIN_'))
  return { ...Object.fromEntries(own), NODE_OPTIONS: '', NO_COLOR: '1', ...more }
}

export function skein(words: readonly string[], { cwd, input, environment }: RunOptions = {}): Promise<Said> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [door, ...words], {
      env: clean(environment),
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(cwd !== undefined && { cwd }),
    })
    let [out, err] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
    child.stdin.on('error', () => undefined)
    child.stdin.end(input ?? '')
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, out, err }))
  })
}

export interface Ready {
  readonly node: string
  readonly dir: string
  readonly http: string
  readonly socket: string
  readonly listen: readonly string[]
  readonly advertise: readonly string[]
  readonly readyMs: number
}

export interface Daemon extends AsyncDisposable {
  readonly ready: Ready
  readonly child: ChildProcess
  readonly log: () => string
  /** Its exit code. */
  readonly ended: Promise<number | null>
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

/** `skein up --json` on free ports; resolves with its ready line. */
export async function daemon(words: readonly string[], options: RunOptions = {}): Promise<Daemon> {
  const free = ['--listen', '127.0.0.1:0', '--http', '127.0.0.1:0'].filter(
    (word, at, all) => !words.includes(at % 2 === 0 ? word : (all[at - 1] ?? '')),
  )
  const child = spawn(process.execPath, [door, 'up', '--json', ...free, ...words], {
    env: clean(options.environment),
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.cwd !== undefined && { cwd: options.cwd }),
  })
  let [out, err] = ['', '']
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
      if (out.includes('\n')) resolve(out.slice(0, out.indexOf('\n')))
    })
    void ended.then((code) => reject(new Error(`it ended with ${code}: ${out}${err}`)))
  })
  const stop = (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> => {
    child.kill(signal)
    return ended
  }
  return {
    ready: JSON.parse(line) as Ready,
    child,
    log: () => err,
    ended,
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop('SIGKILL')
    },
  }
}
