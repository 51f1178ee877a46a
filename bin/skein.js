#!/usr/bin/env node
/**
 * The door of the command line. Installed, it runs what was built; in a checkout the sources as they are. A Node that is too
 * old for them hands over to the one that the checkout has pinned, or says which it needs.
 *
 * Plain JavaScript that any Node of the last years can read: it must be able to say that the Node is too old.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import * as nodeModule from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const built = join(root, 'dist', 'cli', 'main.js')
const source = join(root, 'src', 'cli', 'main.ts')
const isCheckout = existsSync(source)
/** The sources need type stripping without a flag, what was built only what package.json asks for. */
const [neededMajor, neededMinor] = isCheckout ? [24, 0] : [22, 12]

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major > neededMajor || (major === neededMajor && minor >= neededMinor)) {
  // Compiled code is kept from run to run: a third of the time that a short command takes.
  nodeModule.enableCompileCache?.()
  await import(pathToFileURL(isCheckout ? source : built).href)
} else handOver()

function handOver() {
  const pinned = join(root, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  if (!existsSync(pinned)) {
    const how = isCheckout ? ', or run `npm start` once in the checkout: it fetches one' : ''
    process.stderr.write(
      `skein needs Node ${neededMajor}.${neededMinor} or newer, and this is ${process.version}. Install one${how}.\n`,
    )
    process.exit(2)
  }
  const child = spawn(pinned, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' })
  // A terminal sends Ctrl-C to both of us; passed on, the child would take it for the second.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (!(signal === 'SIGINT' && process.stdin.isTTY)) child.kill(signal)
    })
  }
  child.on('error', (error) => {
    process.stderr.write(`${pinned} cannot be started: ${error.message}\n`)
    process.exit(2)
  })
  child.on('close', (code, signal) => process.exit(code ?? 128 + constants.signals[signal ?? 'SIGKILL']))
}
