/**
 * Which process dialled: what a connection of loopback looks like from its other end, by the tables of Linux. Links are sealed,
 * so their bytes do not tell, and all nodes share one address.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** Undefined where the tables are not: then the links of one pair cannot be told from those of another. */
export const canTellDiallers: boolean = process.platform === 'linux'

/** The one of these processes that owns the socket bound to `port` and connected to `peerPort`. */
export function processOf(port: number, peerPort: number, pids: readonly number[]): number | undefined {
  const inode = inodeOf(port, peerPort)
  if (inode === undefined) return undefined
  const wanted = `socket:[${inode}]`
  return pids.find((pid) => descriptorsOf(pid).includes(wanted))
}

function inodeOf(port: number, peerPort: number): string | undefined {
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)) {
    const [, local = '', remote = '', , , , , , , inode] = line.trim().split(/\s+/)
    if (portOf(local) === port && portOf(remote) === peerPort) return inode
  }
  return undefined
}

function portOf(address: string): number {
  return Number.parseInt(address.slice(address.indexOf(':') + 1), 16)
}

/** What the descriptors of a process lead to; nothing when it is gone. */
function descriptorsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((descriptor) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${descriptor}`)
      } catch {
        return ''
      }
    })
  } catch {
    return []
  }
}
