/** A real node behind a real server on a free loopback port, and a client that speaks to it as anybody would. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SkeinNode } from '../node.ts'
import { createHttp } from './http.ts'
import type { HttpOptions, HttpServer } from './http.ts'

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Readonly<Record<string, unknown>>
}

export interface Asking {
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export type Ask = (method: string, path: string, asking?: Asking) => Promise<Answer>

export interface Served extends AsyncDisposable {
  readonly node: SkeinNode
  readonly server: HttpServer
  readonly ask: Ask
}

/** Takes the node over: it is closed with the server. */
export async function served(node: SkeinNode, options: Partial<Omit<HttpOptions, 'node'>> = {}): Promise<Served> {
  const server = await createHttp({ node, port: 0, ...options })
  return {
    node,
    server,
    ask: askerOf(server.url),
    async [Symbol.asyncDispose]() {
      await server.close()
      await node.close()
    },
  }
}

export function askerOf(url: string): Ask {
  return async (method, path, { body, headers = {} } = {}) => {
    const answer = await fetch(url + path, {
      method,
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await answer.text()
    const isJson = answer.headers.get('content-type')?.includes('json') === true
    return {
      status: answer.status,
      headers: answer.headers,
      body: (isJson ? JSON.parse(text) : { text }) as Readonly<Record<string, unknown>>,
    }
  }
}

export async function temporary(): Promise<AsyncDisposable & { readonly dir: string; path(name: string): string }> {
  const dir = await mkdtemp(join(tmpdir(), 'skein-http-'))
  return {
    dir,
    path: (name) => join(dir, name),
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  }
}
