/** The clock that all processes of one machine share: microseconds of CLOCK_MONOTONIC. */
import { setTimeout as sleep } from 'node:timers/promises'

export function nowUs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e6 + nanoseconds / 1000
}

/** A timer may be late by that much on an idle machine: the rest is waited for turn by turn. */
const timerSlackMs = 2

/** `exactly`: not a timer's slack later. That keeps a core busy for the slack, so it is for rates below some 200 a second. */
export async function untilUs(dueUs: number, exactly: boolean): Promise<void> {
  const waitMs = (dueUs - nowUs()) / 1000 - (exactly ? timerSlackMs : 0)
  if (waitMs > 0) await sleep(waitMs)
  if (exactly) while (nowUs() < dueUs) await new Promise((resolve) => setImmediate(resolve))
}
