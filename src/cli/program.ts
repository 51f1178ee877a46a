/**
 * How this command is called where somebody reads what it says: lines that it prints must work as they are printed, also on a
 * machine where `skein` is no command yet.
 */
import { basename, dirname, join, relative, sep } from 'node:path'

/** What decides it, so that it can be told apart from the process that it is about. */
export interface Called {
  /** The file that was started, as the process has it. */
  readonly script: string
  /** Of the checkout that it belongs to; undefined where it is installed. */
  readonly checkout: string | undefined
  readonly cwd: string
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly platform: NodeJS.Platform
}

export function programOf({ script, checkout, cwd, environment, platform }: Called): string {
  // A link of that name stands in the PATH: `npm link`, `npm install --global`.
  if (checkout === undefined || basename(script) === 'skein') {
    return environment['npm_command'] === 'exec' ? 'npx skein' : 'skein'
  }
  // npm runs scripts in the checkout; whoever called it may stand elsewhere, and stands there in the other terminal too.
  const standing = cwd === checkout ? (environment['INIT_CWD'] ?? cwd) : cwd
  const whole = join(checkout, 'bin', 'skein.js')
  const near = relative(standing, whole)
  const path = near.length < whole.length ? near : whole
  if (platform === 'win32') return `node ${/\s/.test(path) ? `"${path}"` : path}`
  return quoted(path.includes(sep) ? path : `./${path}`)
}

/** As a shell takes it for one word. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

/** What was built stands in dist, the sources in src of a checkout. */
const isSource = import.meta.filename.endsWith('.ts')

export const program: string = programOf({
  script: process.argv[1] ?? '',
  checkout: isSource ? dirname(dirname(import.meta.dirname)) : undefined,
  cwd: process.cwd(),
  environment: process.env,
  platform: process.platform,
})
