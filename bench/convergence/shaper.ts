/** The bench's side of the links' shaper: which rule holds between which two parties. A party is a node, or the hub. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Rule } from '../../test/cluster/proxy.ts'

export interface DirectedRule {
  readonly from: number
  readonly to: number
  readonly rule: Partial<Rule>
}

export type ShaperOrder =
  | { readonly kind: 'open'; readonly seed: number; readonly ports: readonly number[] }
  | { readonly kind: 'pids'; readonly pids: readonly (readonly number[])[] }
  | { readonly kind: 'rules'; readonly rules: readonly DirectedRule[] }
  | { readonly kind: 'heal' }

export interface ShaperAnswer {
  readonly ports: readonly number[]
}

const program = fileURLToPath(new URL('shaper-process.ts', import.meta.url))

export class Shaper {
  /** Where each party is dialled. */
  readonly ports: readonly number[]
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, ports: readonly number[]) {
    this.#child = child
    this.ports = ports
  }

  /** In front of the parties that will listen on these ports. */
  static async open(ports: readonly number[], seed: number): Promise<Shaper> {
    // Infinity is a rate that goes through no JSON.
    const child = fork(program, { serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    const opened = await ask(child, { kind: 'open', seed, ports })
    return new Shaper(child, opened.ports)
  }

  /** Who dials is told by the process: these are the processes of each party from now on. */
  async parties(pids: readonly (readonly number[])[]): Promise<void> {
    await ask(this.#child, { kind: 'pids', pids })
  }

  /** For each of some with each of the others, both ways. */
  async between(some: readonly number[], others: readonly number[], rule: Partial<Rule>): Promise<void> {
    const rules: DirectedRule[] = []
    for (const one of some) {
      for (const other of others) {
        if (one !== other) rules.push({ from: one, to: other, rule }, { from: other, to: one, rule })
      }
    }
    await ask(this.#child, { kind: 'rules', rules })
  }

  async heal(): Promise<void> {
    await ask(this.#child, { kind: 'heal' })
  }

  close(): void {
    this.#child.kill('SIGKILL')
  }
}

/** One order at a time: the caller waits for each answer. */
async function ask(child: ChildProcess, order: ShaperOrder): Promise<ShaperAnswer> {
  const answer = once(child, 'message') as Promise<[ShaperAnswer]>
  child.send(order)
  return (await answer)[0]
}
