/**
 * The search: take an input that once reached new ground, mutate it, run it, keep it if it reached new ground itself. What
 * must hold for every input is asked here; what must hold for one decoder, in its target.
 */
import { getHeapStatistics } from 'node:v8'
import { prng } from '../../src/base/prng.ts'
import { mutated } from './mutate.ts'
import type { Coverage } from './coverage.ts'
import { taken } from './target.ts'
import type { Target } from './target.ts'

/** Inputs between two looks at the coverage, which are dear: fewer while there is much to find. */
const leastBatch = 32
const mostBatch = 2048
/** Processor time of one input: far above what any should need, and far below a hang. */
const baseMs = 50
const msPerByte = 0.002
/** Memory of one input. From reliability practice: 1 MB and 64 times the input. */
const baseBytes = 1024 * 1024
const bytesPerByte = 64
/** More of one kind tell nothing new. */
const findingsKept = 5
/** A finding may be a hang: what it shrinks to is not worth more than this. */
const shrinkMs = 2000

export interface Finding {
  readonly target: string
  readonly what: string
  readonly input: Uint8Array
}

export interface Report {
  readonly target: string
  readonly inputs: number
  /** Inputs that were valid. */
  readonly taken: number
  /** Inputs that reached new ground, those of the corpus included. */
  readonly pool: number
  readonly findings: readonly Finding[]
}

export interface Plan {
  readonly seed: number
  /** Asked after each batch, with the inputs so far. */
  more(inputs: number): boolean
  readonly coverage?: Coverage
}

export function fuzz(target: Target, plan: Plan): Report {
  const chance = prng(plan.seed)
  const pool = [...target.corpus()]
  const answers = new Set<string>()
  const findings = new Map<string, Finding>()
  const { coverage } = plan
  const prototypes = fingerprint()
  let inputs = 0
  let valid = 0

  const run = (input: Uint8Array): boolean => {
    const trial = attempt(target, input)
    inputs++
    if (trial.answer === taken) valid++
    if (trial.broken !== undefined && findings.size < findingsKept) {
      const kind = kindOf(trial.broken)
      if (!findings.has(kind)) {
        const small = shrink(target, input, kind)
        findings.set(kind, { target: target.name, what: trial.broken, input: small })
      }
    }
    const answer = kindOf(trial.answer)
    if (answers.has(answer)) return false
    answers.add(answer)
    return true
  }

  for (const input of pool) run(input)
  coverage?.look()
  let batch = leastBatch
  while (plan.more(inputs)) {
    const tried: Uint8Array[] = []
    for (let i = 0; i < batch && (i % leastBatch > 0 || plan.more(inputs)); i++) {
      // Half of the time one of those found last.
      const base =
        pool[chance.chance(0.5) ? pool.length - 1 - chance.below(Math.min(32, pool.length)) : chance.below(pool.length)]
      const input = mutated(base as Uint8Array, chance.pick(pool), chance)
      tried.push(input)
      if (run(input)) pool.push(input)
    }
    if (fingerprint() !== prototypes) {
      findings.set('prototype', {
        target: target.name,
        what: 'a prototype was changed',
        input: tried.at(-1) as Uint8Array,
      })
      break
    }
    if (coverage === undefined) continue
    const fresh = coverage.peek()
    batch = fresh ? Math.max(leastBatch, batch >> 1) : Math.min(mostBatch, 2 * batch)
    if (fresh) pool.push(...whoReached(target, coverage, tried))
  }
  return { target: target.name, inputs, taken: valid, pool: pool.length, findings: [...findings.values()] }
}

/** Those of the inputs that reach new ground, by halves: each half runs again and is looked at. */
function whoReached(target: Target, coverage: Coverage, inputs: readonly Uint8Array[]): Uint8Array[] {
  for (const input of inputs) attempt(target, input)
  if (inputs.length === 1) return coverage.look() ? [...inputs] : []
  if (!coverage.peek()) return []
  const half = inputs.length >> 1
  return [...whoReached(target, coverage, inputs.slice(0, half)), ...whoReached(target, coverage, inputs.slice(half))]
}

interface Trial {
  readonly answer: string
  readonly broken: string | undefined
}

/** One input, and what must hold for each. Time and memory are only held against it when they are so three times. */
export function attempt(target: Target, input: Uint8Array): Trial {
  const first = measured(target, input)
  if (
    first.broken !== undefined ||
    (first.ms <= allowedMs(target, input) && first.bytes <= allowedBytes(target, input))
  )
    return first
  const again = [measured(target, input), measured(target, input)]
  const ms = Math.min(first.ms, ...again.map((trial) => trial.ms))
  const bytes = Math.min(first.bytes, ...again.map((trial) => trial.bytes))
  if (ms > allowedMs(target, input)) return { ...first, broken: `took ${ms.toFixed(0)} ms for ${input.length} bytes` }
  if (bytes > allowedBytes(target, input)) return { ...first, broken: `allocated ${bytes} bytes for ${input.length}` }
  return first
}

const allowedMs = (target: Target, input: Uint8Array): number => (target.baseMs ?? baseMs) + msPerByte * input.length
const allowedBytes = (target: Target, input: Uint8Array): number =>
  (target.baseBytes ?? baseBytes) + bytesPerByte * input.length

function measured(target: Target, input: Uint8Array): Trial & { readonly ms: number; readonly bytes: number } {
  const copy = input.slice()
  const heap = memory()
  const cpu = process.threadCpuUsage()
  let answer = ''
  let broken: string | undefined
  try {
    answer = target.run(copy)
  } catch (error) {
    broken = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  }
  const { user, system } = process.threadCpuUsage(cpu)
  return { answer, broken, ms: (user + system) / 1000, bytes: memory() - heap }
}

function memory(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics()
  return heap + external
}

/** Without the numbers: two errors that differ in a length are one. */
function kindOf(message: string): string {
  return message.replaceAll(/\d+/g, 'n').slice(0, 120)
}

function fingerprint(): string {
  return [Object.prototype, Array.prototype, Uint8Array.prototype, Map.prototype, String.prototype]
    .map((prototype) => Reflect.ownKeys(prototype).length)
    .join()
}

/** Cuts pieces out for as long as the same promise is broken. */
function shrink(target: Target, input: Uint8Array, kind: string): Uint8Array {
  let best = input
  const endMs = performance.now() + shrinkMs
  for (let size = best.length >> 1; size > 0; size >>= 1) {
    for (let at = 0; at + size <= best.length && performance.now() < endMs;) {
      const smaller = Uint8Array.of(...best.subarray(0, at), ...best.subarray(at + size))
      const { broken } = attempt(target, smaller)
      if (broken !== undefined && kindOf(broken) === kind) best = smaller
      else at += size
    }
  }
  return best
}
