/**
 * The door behind every npm script. From a bare checkout it sets up what is missing, then runs the asked task under the
 * pinned Node 24, whatever Node (20 or newer) started it.
 *
 * It installs only when package-lock.json is not the one that node_modules was made from, so that a second run costs
 * nothing. Signals go to the child and the child's exit code comes back. Plain JavaScript without dependencies: it runs
 * before any of them exist.
 */

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const at = (/** @type {string[]} */ ...parts) => join(root, ...parts)
const stampPath = at('node_modules', '.skein-lock')

/** The oldest Node that can run this file and npm 10. Everything after the set-up runs under the pinned one. */
const oldestNode = 20
/** The oldest Node that runs the sources as they are, without a flag: type stripping is on from here. */
const strippingNode = 24
/** A full install took 25 s on two cores; a lock older than this belongs to a process that died. */
const staleLockMs = 600_000
/** How often to look whether the shell that npm put above us still lives. A guess: a stop may take this much longer. */
const parentPollMs = 500
/** npm tells the cause first and its own manual after it. */
const npmLinesShown = 15
/** How often to look whether another process has finished installing. A guess. */
const lockPollMs = 200

/**
 * What `npm run check` does, in order of cost.
 * @type {readonly { title: string, command: string[], needs?: string }[]}
 */
const checks = [
  { title: 'format', command: ['oxfmt', '--check', '.'] },
  { title: 'lint', command: ['oxlint'] },
  { title: 'types', command: ['tsc', '--noEmit'] },
  // What the bench compares with has packages of its own, which only the bench installs.
  {
    title: 'peers',
    command: ['tsc', '--noEmit', '-p', 'bench/convergence/peers'],
    needs: 'bench/convergence/peers/node_modules/.skein-lock',
  },
  { title: 'tidy', command: ['vitest', 'run', 'test/tidy.test.ts'] },
  { title: 'knip', command: ['knip', '--no-config-hints'] },
]

/**
 * The tasks. A command is an installed tool or a file of ours (its name ends in .ts or .js), with its arguments.
 * @type {Record<string, { says: string, run: (args: string[]) => Promise<number> }>}
 */
const tasks = {
  start: {
    says: 'run a node (without arguments: `up`)',
    run: (args) => pass(['bin/skein.js', ...(args.length === 0 ? ['up'] : args)]),
  },
  test: { says: 'all tests; a path runs only those', run: (args) => pass(['vitest', 'run', ...args]) },
  check: { says: checks.map((step) => step.title).join(', '), run: check },
  crash: { says: 'kill real processes and look at what survived', run: (args) => pass(['test/crash/run.ts', ...args]) },
  'test:cluster': {
    says: 'real fleets under faults, judged from outside',
    run: (args) => pass(['test/cluster/run.ts', ...args]),
  },
  sim: { says: 'whole fleets in virtual time, from seeds', run: (args) => pass(['test/sim/run.ts', ...args]) },
  mutants: {
    says: 'break the code on purpose; the tests must notice',
    run: (args) => pass(['test/mutants/run.ts', ...args]),
  },
  fuzz: { says: 'feed every decoder what nobody wrote', run: (args) => pass(['test/fuzz/run.ts', ...args]) },
  model: { says: 'explore the protocol in the small', run: (args) => pass(['test/model/run.ts', ...args]) },
  bench: { says: 'measure', run: (args) => pass(['bench/run.ts', ...args]) },
  build: { says: 'compile src to dist', run: build },
  format: { says: 'format every file in place', run: (args) => pass(['oxfmt', ...(args.length === 0 ? ['.'] : args)]) },
}

/** A problem that a sentence explains; anything else is a bug and keeps its stack. */
class Sentence extends Error {}

async function main() {
  const [name = '', ...args] = process.argv.slice(2)
  const major = Number(process.versions.node.split('.')[0])
  if (major < oldestNode) {
    throw new Sentence(`skein needs Node ${oldestNode} or newer to set itself up; this is ${process.version}.`)
  }
  const task = Object.hasOwn(tasks, name) ? tasks[name] : undefined
  if (task === undefined) {
    const list = Object.entries(tasks).map(([task, { says }]) => `  ${task.padEnd(12)} ${says}`)
    throw new Sentence(`There is no task ${JSON.stringify(name)}. Tasks:\n${list.join('\n')}`)
  }
  await install()
  return task.run(args)
}

// --- setting up -------------------------------------------------------------------------------------------------

/** Fills node_modules unless it was made from this very package-lock.json. */
async function install() {
  const wanted = lockHash()
  if (stamp() === wanted) return
  await withInstallLock(async () => {
    const found = stamp()
    if (found === wanted) return // another process was faster
    const why = found === undefined ? 'first run here' : 'package-lock.json has changed'
    process.stderr.write(`Installing the pinned tools and dependencies with npm: ${why} ... `)
    const startedMs = Date.now()
    rmSync(at('node_modules'), { recursive: true, force: true }) // what an interrupted install left is no base
    const { code, output } = await npmInstall()
    if (code === 0 && pinnedNode() === undefined) {
      // A set-up without its Node is no set-up: it is not stamped.
      process.stderr.write('failed\n')
      throw new Sentence(noNode())
    }
    if (code !== 0) {
      process.stderr.write(`failed\n\n${output.trim().split('\n').slice(0, npmLinesShown).join('\n')}\n\n`)
      throw new Sentence(whyNpmFailed(code, output))
    }
    if (lockHash() !== wanted) throw new Sentence('package-lock.json changed during the install. Run it again.')
    writeFileSync(stampPath, wanted)
    process.stderr.write(`done in ${((Date.now() - startedMs) / 1000).toFixed(0)} s\n`)
  })
}

function lockHash() {
  try {
    const hash = createHash('sha256').update(readFileSync(at('package-lock.json')))
    return hash.update(`${process.platform}-${process.arch}`).digest('hex') // the packages hold native code
  } catch {
    throw new Sentence('package-lock.json cannot be read: is this checkout complete?')
  }
}

function stamp() {
  return existsSync(stampPath) ? readFileSync(stampPath, 'utf8') : undefined
}

/** node_modules is emptied first, so two at once would saw at each other's branch. */
async function withInstallLock(/** @type {() => Promise<void>} */ work) {
  const lock = join(tmpdir(), `skein-install-${createHash('sha256').update(root).digest('hex').slice(0, 16)}`)
  for (let waited = false; ; waited = true) {
    try {
      mkdirSync(lock)
      break
    } catch (error) {
      if (error?.code !== 'EEXIST') throw error
      const ageMs = Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? 0)
      if (ageMs > staleLockMs) rmSync(lock, { recursive: true, force: true })
      else {
        if (!waited) process.stderr.write(`Waiting for another install in this checkout (lock: ${lock})\n`)
        await sleep(lockPollMs)
      }
    }
  }
  try {
    await work()
  } finally {
    rmSync(lock, { recursive: true, force: true })
  }
}

/**
 * Installs exactly what the lockfile names, integrity hashes included, and leaves the lockfile alone. Not `npm ci`: npm
 * 11 and 12 refuse with it a lockfile that was written where the registry lacks other platforms' optional packages
 * (npm/cli issue 9846). That package.json and the lockfile agree, the tidy test checks.
 */
function npmInstall() {
  const node = outerNode()
  const script = process.env['npm_execpath']
  const [command, ...first] = node !== undefined && script?.endsWith('npm-cli.js') ? [node, script] : ['npm']
  const args = ['install', '--no-save', '--include=dev', '--include=optional', '--engine-strict=false']
  return run(command, [...first, ...args, '--no-audit', '--no-fund', '--loglevel=error'], {
    capture: true,
    shell: process.platform === 'win32' && first.length === 0, // npm is a .cmd file there
  })
}

/** A Node that survives the install: npm puts the pinned one first in the PATH, and that one is about to go. */
function outerNode() {
  const candidates = [process.execPath, process.env['npm_node_execpath']]
  return candidates.find((path) => path !== undefined && !path.startsWith(at('node_modules')) && existsSync(path))
}

function whyNpmFailed(/** @type {number} */ code, /** @type {string} */ output) {
  if (code === notFound) return 'npm was not found. It comes with Node: put it on the PATH and try again.'
  if (code > 128) return 'The install was interrupted. Run the same command again.'
  if (/ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|network/i.test(output)) {
    return 'npm could not reach its registry. Check the network (or `npm config get registry` and `proxy`) and try again; only the first run needs it.'
  }
  if (/E40[134]|ETARGET/.test(output)) {
    return 'The npm registry refused or lacks a package (see above). Check `npm config get registry`.'
  }
  if (/ENOSPC/.test(output)) return 'The disk is full: the install needs about 600 MB.'
  if (/EACCES|EPERM/.test(output)) return 'No permission to write node_modules. Who owns this directory?'
  return `npm install ended with ${code}; its own words are above.`
}

/**
 * The Node that everything runs under. The `node` package fetches the binary for this platform in its install script;
 * where npm is set to run no scripts, a newer Node that started us will do.
 */
function pinnedNode() {
  const binary = process.platform === 'win32' ? 'node.exe' : 'node'
  const platform = process.platform === 'win32' ? 'win' : process.platform
  const prefix = process.platform === 'darwin' && process.arch === 'arm64' ? 'node-bin' : 'node'
  const packaged = `${prefix}-${platform}-${process.arch}`
  const places = [
    at('node_modules', 'node', 'bin', binary),
    at('node_modules', 'node', 'node_modules', packaged, 'bin', binary),
    at('node_modules', packaged, 'bin', binary),
  ]
  const found = places.find((path) => existsSync(path))
  if (found !== undefined) return found
  return Number(process.versions.node.split('.')[0]) >= strippingNode ? process.execPath : undefined
}

function noNode() {
  return (
    `The pinned Node ${strippingNode} is not in node_modules: npm ran no install scripts (is ignore-scripts set?), or there is no binary for ${process.platform}-${process.arch}. ` +
    `Set ignore-scripts to false and run this again, or start it with Node ${strippingNode} or newer.`
  )
}

// --- running ----------------------------------------------------------------------------------------------------

/** Runs one command with our terminal as its own. */
async function pass(/** @type {string[]} */ command) {
  const { code } = await run(...underPinnedNode(command), { capture: false })
  return code
}

/** Every check runs, even after one has failed: one look shows all there is to mend. */
async function check(/** @type {string[]} */ only) {
  const unknown = only.filter((title) => !checks.some((step) => step.title === title))
  if (unknown.length > 0) {
    throw new Sentence(`No check is called ${unknown.join(', ')}: ${checks.map((step) => step.title).join(', ')}.`)
  }
  const steps = checks.filter((step) => only.length === 0 || only.includes(step.title))
  let failed = 0
  for (const { title, command, needs } of steps) {
    process.stdout.write(`${title.padEnd(8)}`)
    if (needs !== undefined && !existsSync(at(needs))) {
      process.stdout.write('left out: its packages are not installed\n')
      continue
    }
    const startedMs = Date.now()
    const { code, output } = await run(...underPinnedNode(command), { capture: true })
    const seconds = `${((Date.now() - startedMs) / 1000).toFixed(1)} s`
    process.stdout.write(code === 0 ? `ok      ${seconds}\n` : `FAILED  ${seconds}\n\n${output.trim()}\n\n`)
    if (code > 128) return code // interrupted
    if (code !== 0) failed += 1
  }
  process.stdout.write(failed === 0 ? 'check: ok\n' : `check: ${failed} of ${steps.length} failed\n`)
  return failed === 0 ? 0 : 1
}

/** dist is emptied first: a file that was renamed must not live on in the package. */
async function build(/** @type {string[]} */ args) {
  rmSync(at('dist'), { recursive: true, force: true })
  const code = await pass(['tsc', '-p', 'tsconfig.build.json', ...args])
  process.stdout.write(code === 0 ? 'build: dist is ready\n' : 'build: failed\n')
  return code
}

/** [Node, arguments] for a tool by its name, or for a file of ours. */
function underPinnedNode(/** @type {string[]} */ [name, ...args]) {
  const file = /\.[jt]s$/.test(name) ? at(name) : toolPath(name)
  if (!existsSync(file)) throw new Sentence(`${name} does not exist yet.`)
  const node = pinnedNode()
  if (node === undefined) throw new Sentence(noNode())
  return /** @type {const} */ ([node, [file, ...args]])
}

/** The script that a tool's package declares under its own name. */
function toolPath(/** @type {string} */ tool) {
  const home = at('node_modules', tool === 'tsc' ? 'typescript' : tool)
  const { bin } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'))
  return join(home, typeof bin === 'string' ? bin : bin[tool])
}

/** The exit code of a command that could not be started, as a shell has it. */
const notFound = 127

/**
 * Runs a command to its end. Captured output comes back as text, otherwise the child has our terminal.
 *
 * Signals go to the child, which decides how to end. One exception: a terminal sends Ctrl-C to the whole foreground
 * group itself; passed on, the child would see it twice and take the second for "at once".
 * @returns {Promise<{ code: number, output: string }>}
 */
function run(/** @type {string} */ command, /** @type {readonly string[]} */ args, { capture, shell = false }) {
  return new Promise((resolve) => {
    const path = `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}`
    const env = { ...process.env, PATH: command === process.execPath ? path : `${dirname(command)}${delimiter}${path}` }
    const stdio = capture ? ['ignore', 'pipe', 'pipe'] : 'inherit'
    const child = spawn(command, args, { cwd: root, env, stdio, shell })
    let output = ''
    child.stdout?.setEncoding('utf8').on('data', (text) => (output += text))
    child.stderr?.setEncoding('utf8').on('data', (text) => (output += text))
    const onTerminal = process.stdin.isTTY === true
    let told = false
    const forward = (/** @type {NodeJS.Signals} */ signal) => {
      told = true
      if (!(signal === 'SIGINT' && onTerminal)) child.kill(signal)
    }
    const signals = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])
    for (const signal of signals) process.on(signal, forward)
    // npm hands a SIGTERM to the shell between us and it, and that shell dies without telling: we see it by our parent.
    const parent = process.ppid
    const orphaned = () => {
      // Once: a second signal would tell the child to end at once.
      if (process.ppid !== parent && !told) forward('SIGTERM')
    }
    const watch = process.env['npm_lifecycle_event'] === undefined ? undefined : setInterval(orphaned, parentPollMs)
    const end = (/** @type {number} */ code) => {
      clearInterval(watch)
      for (const signal of signals) process.off(signal, forward)
      resolve({ code, output })
    }
    child.on('error', (error) => {
      output += error.message
      end(notFound)
    })
    child.on('close', (code, signal) => end(code ?? 128 + (constants.signals[signal ?? 'SIGKILL'] ?? 9)))
  })
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof Sentence)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
}
