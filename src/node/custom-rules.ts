/**
 * The functions behind rules of kind `custom`. Each is compiled from its own text in a room of its own, without the clock,
 * chance or anything of the program around it: what it can see is what it is given, so that it says the same on every node.
 * Its time is up even where it never ends. That keeps a mistake from stopping the node; it is no wall against malice, and need
 * not be, for whoever registers a function runs the process.
 */
import { Script, constants, createContext } from 'node:vm'
import type { Context } from 'node:vm'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { CustomFunctions, Meeting } from '../merge/rules/custom.ts'

/** What `openNode` takes: rules name it by name and version. */
export interface CustomRule {
  readonly name: string
  /** From 1 on; raise it when the function says something else than before. */
  readonly version: number
  /** True where the two changes cannot both stand. It must not lean on anything outside of itself. */
  readonly run: (meeting: Meeting) => boolean
}

const bare = `for (const name of ['Date', 'WeakRef', 'FinalizationRegistry', 'Atomics', 'SharedArrayBuffer', 'WebAssembly', 'console'])
  delete globalThis[name]
delete Math.random
`

export class RegisteredRules implements CustomFunctions {
  readonly #contexts = new Map<string, Context>()

  /** Throws `invalid_argument` for what is no such function. */
  constructor(rules: readonly CustomRule[]) {
    for (const { name, version, run } of rules) {
      if (typeof name !== 'string' || name === '') throw invalid('a name is a string that is not empty')
      if (!Number.isSafeInteger(version) || version < 1)
        throw invalid(`the version of ${name} is a whole number from 1 on`)
      if (typeof run !== 'function') throw invalid(`run of ${name} is a function`)
      if (this.has(name, version)) throw invalid(`${name} has version ${version} twice`)
      this.#contexts.set(idOf(name, version), compiled(name, String(run)))
    }
  }

  has(name: string, version: number): boolean {
    return this.#contexts.has(idOf(name, version))
  }

  run(name: string, version: number, meeting: Meeting): boolean {
    const context = this.#contexts.get(idOf(name, version))
    if (context === undefined) throw new RangeError(`there is no function ${name} of version ${version}`)
    const script = new Script(`judge(${textOf(meeting)})`, { filename: name })
    const answer: unknown = script.runInContext(context, { timeout: limits.customMs })
    if (typeof answer === 'boolean') return answer
    throw new TypeError(`it answered ${typeof answer}, not true or false`)
  }
}

function compiled(name: string, text: string): Context {
  const context = createContext(constants.DONT_CONTEXTIFY, {
    codeGeneration: { strings: false, wasm: false },
    microtaskMode: 'afterEvaluate',
  })
  const options = { timeout: limits.customMs }
  new Script(bare).runInContext(context, options)
  // A method of an object is no expression by itself.
  for (const form of [`(${text})`, `Object.values({ ${text} })[0]`]) {
    let script: Script
    try {
      script = new Script(`'use strict'\nconst judge = ${form}\nObject.freeze(globalThis)`, { filename: name })
    } catch {
      continue
    }
    script.runInContext(context, options)
    return context
  }
  throw invalid(`run of ${name} must be written out as a function`)
}

function idOf(name: string, version: number): string {
  return `${version} ${name}`
}

/** Bytes stand as base64. */
function textOf(meeting: Meeting): string {
  return JSON.stringify(meeting, (_, value: unknown) =>
    value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value,
  )
}

function invalid(what: string): SkeinError {
  return new SkeinError('invalid_argument', `customRules: ${what}`)
}
