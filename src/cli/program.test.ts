/** The lines that a start prints are run as they are printed, by a shell, where whoever started it stands. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { programOf } from './program.ts'
import type { Called } from './program.ts'

const checkout = join(import.meta.dirname, '..', '..')

describe('how the command is called', () => {
  const started: Called = {
    script: '/home/me/skein/bin/skein.js',
    checkout: '/home/me/skein',
    cwd: '/home/me/skein',
    environment: {},
    platform: 'linux',
  }
  const cases: readonly [where: string, called: Partial<Called>, program: string][] = [
    ['in the checkout', {}, 'bin/skein.js'],
    ['by npm, from a folder of it', { environment: { INIT_CWD: '/home/me/skein/docs' } }, '../bin/skein.js'],
    ['by npm, beside the program', { environment: { INIT_CWD: '/home/me/skein/bin' } }, './skein.js'],
    ['by npm, from far away', { environment: { INIT_CWD: '/var/lib/x/y/z' } }, '/home/me/skein/bin/skein.js'],
    [
      'where it stands, whatever npm said to somebody above',
      { cwd: '/home/me', environment: { INIT_CWD: '/tmp' } },
      'skein/bin/skein.js',
    ],
    ['under a name with a space', { cwd: '/home', checkout: '/home/a b' }, "'a b/bin/skein.js'"],
    ['by a link in the PATH', { script: '/usr/local/bin/skein' }, 'skein'],
    ['installed', { checkout: undefined }, 'skein'],
    ['installed in a project', { checkout: undefined, environment: { npm_command: 'exec' } }, 'npx skein'],
  ]
  test.each(cases)('%s', (_, called, program) => {
    expect(programOf({ ...started, ...called })).toBe(program)
  })
})

describe('npm start', () => {
  let dir: string
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'skein-start-'))
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))

  /** Of somebody who has never heard of it: nothing of ours in the environment, and no `skein` in the PATH. */
  function plain(more: Readonly<Record<string, string>> = {}): Record<string, string | undefined> {
    const own = Object.entries(process.env).filter(([name]) => !/^(?:SKEIN_|npm_|INIT_CWD)/.test(name))
    return { ...Object.fromEntries(own), NODE_OPTIONS: '', NO_COLOR: '1', ...more }
  }

  function typed(line: string, cwd: string): Promise<{ code: number | null; said: string }> {
    return new Promise((resolve, reject) => {
      const child = spawn(line, { cwd, shell: true, env: plain(), stdio: ['ignore', 'pipe', 'pipe'] })
      let said = ''
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => (said += text))
      }
      child.on('error', reject)
      child.on('close', (code) => resolve({ code, said }))
    })
  }

  test.each([
    ['the checkout', checkout],
    ['a folder of it', join(checkout, 'docs')],
  ])('from %s, what it prints to try works as it is printed', async (_, standing) => {
    // As npm runs the script: in the checkout, with the place where it was called told beside.
    const words = ['up', '--dir', join(dir, 'data'), '--listen', '127.0.0.1:0', '--http', '127.0.0.1:0']
    const node = spawn(process.execPath, [join('bin', 'skein.js'), ...words], {
      cwd: checkout,
      env: plain({ INIT_CWD: standing }),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const ended = new Promise((resolve) => node.on('close', resolve))
    let said = ''
    node.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
    try {
      await new Promise<void>((resolve, reject) => {
        node.stdout.setEncoding('utf8').on('data', (text: string) => {
          said += text
          if (said.includes('Ctrl-C stops.')) resolve()
        })
        void ended.then(() => reject(new Error(said)))
      })
      const [, block = ''] = /In another terminal:\n([\s\S]*?)\n\n/.exec(said) ?? []
      const lines = block.split('\n').map((line) => line.trim())
      expect(lines.length).toBe(3)
      const answers = []
      for (const line of lines) answers.push(await typed(line, standing))
      expect(answers.map(({ code }) => code)).toEqual([0, 0, 0])
      expect(answers[0]?.said).toMatch(/written|nothing to change/)
      expect(answers[1]?.said).toContain('"status":"doing"')
      expect(answers[2]?.said).toMatch(/^state {3}open$/m)
    } finally {
      node.kill('SIGTERM')
      await ended
    }
  })
})
