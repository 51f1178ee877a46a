/**
 * The peers' packages: a set of their own, pinned beside this file, so that only who compares with them pays for them.
 * Adapters load them when they open a node or a hub, and not before: a process has in its memory what it runs.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const here = new URL('./', import.meta.url)
const stampPath = new URL('node_modules/.skein-lock', here)

/** They hold native code, so what was installed for one platform is nothing for another. */
function wanted(): string {
  const lock = readFileSync(new URL('package-lock.json', here))
  return createHash('sha256').update(lock).update(`${process.platform}-${process.arch}`).digest('hex')
}

/** Why the packages cannot be used; nothing where they can. */
export function packagesMissing(): string | undefined {
  if (existsSync(stampPath) && readFileSync(stampPath, 'utf8') === wanted()) return undefined
  return 'its packages are not installed: npm run bench -- convergence --install'
}

/** `yjs 13.6.33, y-websocket 3.1.0`, as the manifest pins them. */
export function versions(...names: readonly string[]): string {
  const manifest = JSON.parse(readFileSync(new URL('package.json', here), 'utf8')) as {
    readonly dependencies: Readonly<Record<string, string>>
  }
  return names.map((name) => `${name} ${manifest.dependencies[name] ?? 'of no known version'}`).join(', ')
}

/** Their install scripts build what they bring built. */
const quietly = ['--ignore-scripts', '--no-save', '--no-audit', '--no-fund', '--loglevel=error']

/** Installs what the lockfile names, unless that is there. Answers why it could not. */
export async function installPackages(say: (text: string) => void): Promise<string | undefined> {
  if (packagesMissing() === undefined) return undefined
  const folder = fileURLToPath(here)
  say(`Installing the peers that Skein is compared with (some 300 MB) into ${folder}node_modules ... `)
  rmSync(new URL('node_modules', here), { recursive: true, force: true })
  const { code, output } = await npm(['install', ...quietly], folder)
  if (code === 0) {
    writeFileSync(stampPath, wanted())
    say('done\n')
    return undefined
  }
  say(`failed\n${output.trim().split('\n').slice(0, 10).join('\n')}\n`)
  return `npm install ended with ${code}`
}

/** The npm that started the bench, where one did: its own Node may be another than ours. */
function npm(args: readonly string[], cwd: string): Promise<{ code: number | string; output: string }> {
  const [node, script] = [process.env['npm_node_execpath'], process.env['npm_execpath']]
  const isNpm = node !== undefined && script?.endsWith('npm-cli.js') === true && existsSync(node)
  const [command, ...first] = isNpm ? [node, script] : ['npm']
  return new Promise((resolve) => {
    const child = spawn(command, [...first, ...args], { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.once('error', (error) => resolve({ code: error.message, output }))
    child.once('close', (code) => resolve({ code: code ?? 'a signal', output }))
  })
}
