/**
 * Names that stand for several nodes: what `dns:` means in `join`. Each address of the name is somebody to begin with, as
 * a headless service of Kubernetes has them. A name that nobody knows yet is no reason not to start: the first node of
 * a fleet finds nobody.
 */
import { lookup } from 'node:dns/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { endpointText } from './config-values.ts'
import type { JoinAt } from './config-values.ts'

export interface Joining {
  readonly addresses: readonly string[]
  /** Names that gave no address, each with why. */
  readonly unknown: readonly string[]
}

/** Between attempts, and how many there are: a name server that is just starting gets its chance. A guess. */
const againMs = 500
const attempts = 3

export async function resolveJoin(
  join: readonly JoinAt[],
  isSecure: boolean,
  resolve: (host: string) => Promise<readonly string[]> = addressesOf,
): Promise<Joining> {
  const addresses: string[] = []
  const unknown: string[] = []
  const found = await Promise.all(
    join.map(async (at) => {
      if (at.kind === 'address') return [at.address]
      const scheme = isSecure ? 'wss' : 'ws'
      for (let attempt = 1; ; attempt++) {
        try {
          const hosts = await resolve(at.host)
          return hosts.map((host) => `${scheme}://${endpointText({ host, port: at.port })}`)
        } catch (error) {
          if (attempt === attempts) {
            unknown.push(`${at.host}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`)
            return []
          }
          await sleep(againMs)
        }
      }
    }),
  )
  for (const some of found) addresses.push(...some)
  return { addresses: [...new Set(addresses)], unknown }
}

/** Not in a fixed order: a hundred nodes that start at once should not all dial the same one. */
async function addressesOf(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true, order: 'verbatim' })).map(({ address }) => address)
}
