/** A server that is a program of the system, not of ours: found, never installed, and gone with the hub that started it. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Address, Hub } from '../system.ts'

/** Its version, out of what it says to `--version`; nothing where it is not installed. */
export function programVersion(name: string): string | undefined {
  const { status, stdout } = spawnSync(name, ['--version'], { encoding: 'utf8' })
  return status === 0 ? (/\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? stdout.trim()) : undefined
}

const startWithinMs = 10_000

/**
 * A shell stands between: it ends the program when its own input does, so that a hub that was killed leaves nobody behind.
 */
const script = '"$@" >/dev/null & echo $!; cat >/dev/null; kill -9 $!'

export async function running(name: string, args: readonly string[], { host, port }: Address): Promise<Hub> {
  const shell = spawn('sh', ['-c', script, 'sh', name, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  const [said] = (await once(shell.stdout.setEncoding('utf8'), 'data')) as [string]
  const endMs = Date.now() + startWithinMs
  while (!(await accepts(port, host))) {
    if (Date.now() > endMs) throw new Error(`${name} did not listen within ${startWithinMs / 1000} s`)
    await sleep(20)
  }
  return {
    pids: [Number(said)],
    isElsewhere: true,
    async close() {
      shell.stdin.end()
      await once(shell, 'close')
    },
  }
}

function accepts(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host, () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
