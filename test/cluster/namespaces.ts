/**
 * The other network: each node in a namespace of its own, linked by virtual cables to one bridge. Here packets are lost, TCP
 * sends them again in its own time, and a dial into a cut gets no answer at all. It takes root and the kernel's consent.
 *
 * A directed pair is cut by telling the sender a hardware address that nobody has. There is no reset here: a cut is always a
 * black hole. Delay, jitter and rate would take a queueing discipline (netem), where the kernel has one; not all have.
 */
import { execFileSync } from 'node:child_process'
import type { Network } from './network.ts'
import { clear } from './proxy.ts'
import type { Figures, Rule } from './proxy.ts'

function ip(...words: readonly string[]): void {
  execFileSync('ip', [...words], { stdio: 'pipe' })
}

/** Why there can be none here; undefined where there can. */
export function whyNoNamespaces(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'they take root on Linux'
  const name = `skein-${process.pid}-try`
  try {
    ip('netns', 'add', name)
    try {
      ip('-n', name, 'link', 'add', 'try0', 'type', 'veth', 'peer', 'name', 'try1')
      ip('-n', name, 'link', 'add', 'bridge0', 'type', 'bridge')
    } finally {
      ip('netns', 'del', name)
    }
    return undefined
  } catch (error) {
    return `ip cannot make them: ${(error as Error).message.trim().split('\n').at(-1) ?? ''}`
  }
}

/** Answered by nobody: a locally administered address. */
const nobody = '02:00:00:00:00:01'
const subnet = '10.231.7'
const peerPort = 7400

export class Namespaces implements Network {
  readonly figures: Figures = { connections: 0, resets: 0, bytes: 0 }
  readonly #count: number
  readonly #rules = new Map<string, Rule>()
  readonly #netem: boolean

  private constructor(count: number) {
    this.#count = count
    this.#netem = hasNetem(nameOf(0))
  }

  static open(count: number): Namespaces {
    const hub = nameOf('hub')
    ip('netns', 'add', hub)
    ip('-n', hub, 'link', 'add', 'bridge0', 'type', 'bridge')
    ip('-n', hub, 'link', 'set', 'bridge0', 'up')
    for (let node = 0; node < count; node++) {
      const name = nameOf(node)
      ip('netns', 'add', name)
      ip('-n', name, 'link', 'set', 'lo', 'up')
      ip('-n', name, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', `port${node}`, 'netns', hub)
      ip('-n', hub, 'link', 'set', `port${node}`, 'master', 'bridge0', 'up')
      ip('-n', name, 'addr', 'add', `${addressOf(node)}/24`, 'dev', 'eth0')
      ip('-n', name, 'link', 'set', 'eth0', 'up')
    }
    const network = new Namespaces(count)
    process.once('exit', network.#remove)
    return network
  }

  get lacks(): string | undefined {
    return this.#netem ? undefined : 'slow and thin links in namespaces: this kernel has no netem'
  }

  place(node: number): { readonly listen: string; readonly advertise: string; readonly prefix: readonly string[] } {
    const at = `${addressOf(node)}:${peerPort}`
    return { listen: at, advertise: `ws://${at}`, prefix: ['ip', 'netns', 'exec', nameOf(node)] }
  }

  up(): void {
    // A node listens by itself: nobody stands before it.
  }

  rule(from: number, to: number): Rule {
    return this.#rules.get(`${from}>${to}`) ?? clear
  }

  set(from: number, to: number, rule: Rule): void {
    const before = this.rule(from, to)
    this.#rules.set(`${from}>${to}`, rule)
    if ((before.cut === 'none') !== (rule.cut === 'none')) this.#cut(from, to, rule.cut !== 'none')
    if (this.#netem) this.#slow(from)
  }

  heal(): void {
    for (const name of this.#rules.keys()) {
      const [from = 0, to = 0] = name.split('>').map(Number)
      this.set(from, to, clear)
    }
  }

  close(): Promise<void> {
    process.off('exit', this.#remove)
    this.#remove()
    return Promise.resolve()
  }

  readonly #remove = (): void => {
    for (const which of ['hub', ...Array.from({ length: this.#count }, (_, node) => node)]) {
      try {
        ip('netns', 'del', nameOf(which))
      } catch {
        // Gone already.
      }
    }
  }

  #cut(from: number, to: number, isCut: boolean): void {
    const at = ['dev', 'eth0'] as const
    const neighbour = ['-n', nameOf(from), 'neigh'] as const
    if (isCut) return ip(...neighbour, 'replace', addressOf(to), 'lladdr', nobody, ...at, 'nud', 'permanent')
    ip(...neighbour, 'del', addressOf(to), ...at)
  }

  /** One discipline for all that leaves a node: the slowest of its links decides. */
  #slow(from: number): void {
    let [delayMs, jitterMs, bytesPerSecond, loss] = [0, 0, Infinity, 0]
    for (let to = 0; to < this.#count; to++) {
      const rule = this.rule(from, to)
      delayMs = Math.max(delayMs, rule.delayMs)
      jitterMs = Math.max(jitterMs, rule.jitterMs)
      bytesPerSecond = Math.min(bytesPerSecond, rule.bytesPerSecond)
      loss = Math.max(loss, rule.loss)
    }
    const rate = Number.isFinite(bytesPerSecond) ? ['rate', `${Math.ceil(bytesPerSecond * 8)}bit`] : []
    const words = [
      'qdisc',
      'replace',
      'dev',
      'eth0',
      'root',
      'netem',
      'delay',
      `${delayMs}ms`,
      `${jitterMs}ms`,
      ...rate,
      ...(loss > 0 ? ['loss', `${100 * loss}%`] : []),
    ]
    execFileSync('tc', ['-n', nameOf(from), ...words], { stdio: 'pipe' })
  }
}

function nameOf(which: number | string): string {
  return `skein-${process.pid}-${which}`
}

function addressOf(node: number): string {
  return `${subnet}.${node + 1}`
}

function hasNetem(name: string): boolean {
  try {
    execFileSync('tc', ['-n', name, 'qdisc', 'replace', 'dev', 'eth0', 'root', 'netem', 'delay', '0ms'], {
      stdio: 'pipe',
    })
    return true
  } catch {
    return false
  }
}
