/**
 * Loaded into a node before its own code (`--import`): its wall clock is off by as many milliseconds as the file says that
 * TEST_CLOCK names, and follows that file while the node runs. Monotonic time goes on as it is, as on a machine whose
 * clock somebody sets.
 */
import { readFileSync } from 'node:fs'

const path = process.env['TEST_CLOCK'] ?? ''
delete process.env['TEST_CLOCK']
const real = Date.now
const everyMs = 100
let offsetMs = 0

function read(): void {
  try {
    offsetMs = Number(readFileSync(path, 'utf8')) || 0
  } catch {
    offsetMs = 0
  }
}

read()
setInterval(read, everyMs).unref()
Date.now = () => real() + offsetMs
