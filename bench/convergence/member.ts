/** The bench's side of one process of a fleet: orders and answers, and what the kernel says of it. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Envelope, Note, OrderName, Orders, Reply } from './control.ts'
import { usageOf } from './usage.ts'
import type { Usage } from './usage.ts'

const program = fileURLToPath(new URL('process.ts', import.meta.url))

/** Every process that was started and has not ended: nobody outlives the bench. */
const living = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

interface Waiting {
  resolve(answer: unknown): void
  reject(error: Error): void
}

export class Member {
  readonly name: string
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  #nextId = 1
  /** Others that belong to it: what a hub started. */
  pids: readonly number[] = []
  /** What counts is theirs alone. */
  isElsewhere = false
  /** Writes by their number, of orders that have them told. */
  readonly acknowledged: number[] = []
  /** What opening took, from the inside. */
  openedMs = 0

  constructor(name: string) {
    this.name = name
    // automerge-repo asks for timers in the past, and every process of it would be told so.
    const execArgv = ['--disable-warning=TimeoutNegativeWarning']
    this.#child = fork(program, { execArgv, serialization: 'advanced', stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    living.add(this.#child)
    this.#child.on('message', (message: Reply | Note) => {
      if ('acknowledged' in message) return void this.acknowledged.push(message.acknowledged)
      const { id, answer, failed } = message
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (failed === undefined) waiting?.resolve(answer)
      else waiting?.reject(new Error(`${name}: ${failed}`))
    })
    this.#child.once('exit', (code, signal) => {
      living.delete(this.#child)
      for (const waiting of this.#waiting.values()) waiting.reject(new Error(`${name} ended with ${code ?? signal}`))
      this.#waiting.clear()
    })
  }

  get pid(): number {
    return this.#child.pid ?? -1
  }

  ask<Name extends OrderName>(name: Name, order: Orders[Name]['order']): Promise<Orders[Name]['answer']> {
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as Waiting['resolve'], reject })
      const envelope: Envelope = { id, name, order }
      this.#child.send(envelope, (error) => {
        if (error === null) return
        this.#waiting.delete(id)
        reject(new Error(`${this.name}: ${error.message}`))
      })
    })
  }

  usage(): Usage {
    return usageOf(this.isElsewhere ? this.pids : [this.pid, ...this.pids])
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }
}
