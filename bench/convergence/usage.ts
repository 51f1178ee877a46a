/** What processes have taken, as Linux counts it, threads of databases and garbage collectors included. */
import { readFileSync } from 'node:fs'

export interface Usage {
  readonly cpuSeconds: number
  /** The most that was resident at one time. */
  readonly peakBytes: number
  /** What is resident now. */
  readonly residentBytes: number
}

/** USER_HZ: what /proc counts in, on every Linux that Node runs on. */
const ticksPerSecond = 100

export function usageOf(pids: readonly number[]): Usage {
  let cpuSeconds = 0
  let peakBytes = 0
  let residentBytes = 0
  for (const pid of pids) {
    const stat = read(`/proc/${pid}/stat`)
    // The name in parentheses may hold spaces.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    cpuSeconds += (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / ticksPerSecond
    const status = read(`/proc/${pid}/status`)
    peakBytes += 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0)
    residentBytes += 1024 * Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0)
  }
  return { cpuSeconds, peakBytes, residentBytes }
}

/** Nothing when the process is gone, or the system is no Linux. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
