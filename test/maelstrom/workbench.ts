/**
 * A small workbench that speaks Maelstrom's protocol, for where Maelstrom is not: it starts nodes, carries their messages with
 * latencies of their own (so that they overtake each other), drops what crosses a partition, asks as a client would, and hands
 * the answers back. It judges nothing.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Prng } from '../../src/base/prng.ts'

const program = fileURLToPath(new URL('node.ts', import.meta.url))
const answerWithinMs = 20_000

type Body = Readonly<Record<string, unknown>>

interface Message {
  readonly src: string
  readonly dest: string
  readonly body: Body
}

export class Workbench implements AsyncDisposable {
  readonly nodes: readonly string[]
  readonly #chance: Prng
  readonly #latencyMs: number
  readonly #children = new Map<string, ChildProcess>()
  readonly #asked = new Map<number, (body: Body) => void>()
  /** Of two groups; nothing passes between them. */
  #side: ReadonlySet<string> | undefined
  #next = 0
  #isOver = false
  carried = 0
  dropped = 0

  private constructor(count: number, latencyMs: number, chance: Prng) {
    this.nodes = Array.from({ length: count }, (_, node) => `n${node}`)
    this.#latencyMs = latencyMs
    this.#chance = chance
  }

  static async open(count: number, latencyMs: number, chance: Prng): Promise<Workbench> {
    const bench = new Workbench(count, latencyMs, chance)
    for (const name of bench.nodes) bench.#spawn(name)
    await Promise.all(
      bench.nodes.map((name) => bench.ask(name, { type: 'init', node_id: name, node_ids: bench.nodes })),
    )
    return bench
  }

  /** Cuts these off from all others; nobody, to heal. */
  partition(side: readonly string[]): void {
    this.#side = side.length === 0 ? undefined : new Set(side)
  }

  ask(node: string, body: Body): Promise<Body> {
    const id = ++this.#next
    return new Promise((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`${node} does not answer ${JSON.stringify(body)}`)),
        answerWithinMs,
      )
      this.#asked.set(id, (answer) => {
        clearTimeout(late)
        resolve(answer)
      })
      this.#deliver({ src: 'c1', dest: node, body: { ...body, msg_id: id } })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    const ends = [...this.#children.values()].map(
      (child) =>
        new Promise<void>((resolve) => {
          child.once('exit', () => resolve())
          child.kill('SIGKILL')
        }),
    )
    await Promise.all(ends)
  }

  #spawn(name: string): void {
    const child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#children.set(name, child)
    createInterface({ input: child.stdout }).on('line', (line) => this.#carry(JSON.parse(line) as Message))
    child.stdin.on('error', () => undefined)
  }

  #carry(message: Message): void {
    const { src, dest, body } = message
    if (dest.startsWith('c')) {
      const id = Number(body['in_reply_to'])
      this.#asked.get(id)?.(body)
      this.#asked.delete(id)
      return
    }
    if (this.#side !== undefined && this.#side.has(src) !== this.#side.has(dest)) {
      this.dropped++
      return
    }
    this.carried++
    setTimeout(() => this.#deliver(message), this.#chance.below(2 * this.#latencyMs + 1))
  }

  #deliver(message: Message): void {
    if (!this.#isOver) this.#children.get(message.dest)?.stdin?.write(`${JSON.stringify(message)}\n`)
  }
}
