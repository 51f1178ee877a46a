/**
 * What checks requests and writes answers is compiled from the schema of a route when that is first asked, not for all
 * routes before anybody can ask: it took a third of a start. The compilers are fastify's own, loaded with the first.
 */
import { createRequire } from 'node:module'
import type { FastifyServerOptions } from 'fastify'

export type Compilers = Required<NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>>

/** As fastify calls it: false is a no, and then its errors are read. */
interface Check {
  (data: unknown): unknown
  errors?: unknown
}
type Write = (answer: unknown) => string
type Compile<Made> = (route: unknown) => Made
type Compiler<Made> = (...settings: readonly unknown[]) => Compile<Made>

/** Those that this very fastify would take, wherever they are installed. */
const load = createRequire(createRequire(import.meta.url).resolve('fastify'))

export const compilersFactory: Compilers = {
  buildValidator: lately<Check>('@fastify/ajv-compiler', (compiled) => {
    const check: Check = (data) => {
      const verdict = compiled()(data)
      check.errors = compiled().errors
      return verdict
    }
    return check
  }) as unknown as Compilers['buildValidator'],

  buildSerializer: lately<Write>(
    '@fastify/fast-json-stringify-compiler',
    (compiled) => (answer) => compiled()(answer),
  ) as unknown as Compilers['buildSerializer'],
}

function lately<Made>(name: string, standIn: (compiled: () => Made) => Made): Compiler<Made> {
  return (...settings) => {
    let compile: Compile<Made> | undefined
    return (route) => {
      let compiled: Made | undefined
      return standIn(() => {
        compile ??= (load(name) as () => Compiler<Made>)()(...settings)
        return (compiled ??= compile(route))
      })
    }
  }
}
