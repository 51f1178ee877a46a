/** One request to a node, and what is known after it: an answer, that it was never taken up, or nothing. */
import { request } from 'node:http'
import type { Agent } from 'node:http'

export type Asked =
  | { readonly kind: 'answer'; readonly status: number; readonly body: Readonly<Record<string, unknown>> }
  /** Nobody listened: it was not done, and never will be. */
  | { readonly kind: 'refused' }
  /** It may have been done, or be done later. */
  | { readonly kind: 'lost'; readonly why: string }

export interface Door {
  readonly socketPath?: string
  readonly port?: number
  readonly agent: Agent
}

export function ask(
  door: Door,
  method: string,
  path: string,
  {
    body,
    headers = {},
    timeoutMs = 5_000,
  }: {
    readonly body?: unknown
    readonly headers?: Readonly<Record<string, string>>
    readonly timeoutMs?: number
  } = {},
): Promise<Asked> {
  return new Promise((resolve) => {
    const text = body === undefined ? undefined : JSON.stringify(body)
    const asked = request(
      {
        ...(door.socketPath === undefined ? { host: '127.0.0.1', port: door.port } : { socketPath: door.socketPath }),
        agent: door.agent,
        method,
        path,
        signal: AbortSignal.timeout(timeoutMs),
        headers: {
          host: 'localhost',
          ...headers,
          ...(text !== undefined && {
            'content-type': 'application/json',
            'content-length': String(Buffer.byteLength(text)),
          }),
        },
      },
      (response) => {
        const pieces: Buffer[] = []
        const lost = (error: Error): void => resolve({ kind: 'lost', why: error.message })
        response.on('data', (piece: Buffer) => pieces.push(piece))
        response.on('error', lost)
        response.on('end', () => {
          try {
            const parsed: unknown = JSON.parse(Buffer.concat(pieces).toString() || '{}')
            const answer = typeof parsed === 'object' && parsed !== null ? parsed : {}
            resolve({
              kind: 'answer',
              status: response.statusCode ?? 0,
              body: answer as Readonly<Record<string, unknown>>,
            })
          } catch (error) {
            lost(error as Error)
          }
        })
      },
    )
    asked.on('error', (error: NodeJS.ErrnoException) => {
      const isRefused = error.code === 'ECONNREFUSED' || error.code === 'ENOENT'
      resolve(isRefused ? { kind: 'refused' } : { kind: 'lost', why: error.message })
    })
    asked.end(text)
  })
}
