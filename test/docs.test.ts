/**
 * The documents are held to the code: rules to tests and tests to rules, tables to their registries, snippets to what
 * they do, links to what is there.
 *
 * UPDATE_DOCS=1 npm test -- test/docs.test.ts writes the generated tables anew.
 */
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { describe, expect, test } from 'vitest'
import { errorTable } from '../src/base/errors.ts'
import { daemon, skein } from '../src/cli/cli.test-kit.ts'
import { commonOptions, nodeOptions, usageOf } from '../src/cli/command.ts'
import type { Options } from '../src/cli/command.ts'
import { commands } from '../src/cli/commands/table.ts'
import { settingOptions } from '../src/cli/settings.ts'
import { types } from '../src/crdt/types/table.ts'
import { environmentOf, flagOf, settingNames, settings } from '../src/node/config.ts'
import { buckets, metricPrefix, metricTable } from '../src/observe/metrics.ts'
import type { MetricFacts } from '../src/observe/metrics.ts'
import { statusOf } from '../src/node/http/problem.ts'
import { rules } from '../src/sim/rules.ts'

const root = join(import.meta.dirname, '..')
const regenerate = 'UPDATE_DOCS=1 npm test -- test/docs.test.ts'

function read(path: string): Promise<string> {
  return readFile(join(root, path), 'utf8')
}

async function filesUnder(folder: string, ending: string): Promise<string[]> {
  const found = await readdir(join(root, folder), { recursive: true, withFileTypes: true })
  return found
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
}

describe('docs/SPEC.md', () => {
  // Put together here, or this file would find itself.
  const idAtStart = new RegExp(
    '(?:test|describe|it)[\\w.]*\\([\\s\\S]{0,200}?[\'"`]\\' + '[([A-Z]+\\d+(?:\\.\\d+)?)\\]',
    'g',
  )
  const rows = /^\| ([A-Z]+\d+(?:\.\d+)?) \| .+ \|$/gm

  test('every rule has a test, and every test that names a rule names one that is there', async () => {
    const rules = [...(await read('docs/SPEC.md')).matchAll(rows)].map(([, id = '']) => id)
    const tested = new Set<string>()
    for (const path of [...(await filesUnder('src', '.ts')), ...(await filesUnder('test', '.ts'))]) {
      if (!/\.(test|laws|suite)\.ts$/.test(path)) continue
      for (const [, id = ''] of (await read(path)).matchAll(idAtStart)) tested.add(id)
    }
    expect(rules.filter((id, at) => rules.indexOf(id) !== at)).toEqual([])
    expect(
      rules.filter((id) => !tested.has(id)),
      'rules without a test',
    ).toEqual([])
    expect(
      [...tested].filter((id) => !rules.includes(id)),
      'tests whose rule is not in docs/SPEC.md',
    ).toEqual([])
  })
})

describe('generated tables', () => {
  const tables: readonly [path: string, name: string, make: () => Promise<string> | string][] = [
    ['docs/ERRORS.md', 'errors', errorRows],
    ['docs/LIMITS.md', 'limits', limitRows],
    ['docs/TYPES.md', 'types', typeRows],
    ['docs/SIMULATION.md', 'rules', ruleRows],
    ['docs/CONFIG.md', 'settings', settingRows],
    ['docs/CLI.md', 'commands', commandSections],
    ['docs/CLI.md', 'options', () => optionRows({ ...nodeOptions, ...commonOptions })],
    ['docs/METRICS.md', 'metrics', metricRows],
    ['docs/METRICS.md', 'buckets', bucketRows],
    ['docs/HTTP.md', 'statuses', statusRows],
  ]

  test.each(tables)('%s is up to date in its %s', async (path, name, make) => {
    const text = await read(path)
    const begin = `<!-- generated: ${name} -->\n`
    const end = `<!-- end of generated: ${name} -->\n`
    const [from, to] = [text.indexOf(begin) + begin.length, text.indexOf(end)]
    expect(to, `${path} has the markers ${begin.trim()} and ${end.trim()}`).toBeGreaterThanOrEqual(from)
    const fresh = text.slice(0, from) + (await make()) + text.slice(to)
    if (process.env['UPDATE_DOCS'] === '1') await writeFile(join(root, path), fresh)
    else expect(text, `${path} is stale. Write it anew with: ${regenerate}`).toBe(fresh)
  })

  function errorRows(): string {
    const rows = Object.entries(errorTable).map(
      ([code, { meaning, state, retry, action }]) =>
        `| \`${code}\` | ${meaning} | ${state} | ${retry ? 'yes' : 'no'} | ${action} |\n`,
    )
    return `| code | meaning | state | retry | what to do |\n| --- | --- | --- | --- | --- |\n${rows.join('')}`
  }

  function statusRows(): string {
    const byStatus = Object.entries(Object.groupBy(Object.entries(statusOf), ([, status]) => status))
    const rows = byStatus.map(
      ([status, codes = []]) => `| ${status} | ${codes.map(([code]) => `\`${code}\``).join(', ')} |\n`,
    )
    return `| status | codes |\n| --- | --- |\n${rows.join('')}`
  }

  /** Name, value and comment are all in the source. */
  async function limitRows(): Promise<string> {
    const source = await read('src/base/limits.ts')
    const table = source.slice(source.indexOf('export const limits'))
    const rows = [...table.matchAll(/\/\*\* ([\s\S]*?) \*\/\s+(\w+): ([\d_]+),/g)].map(
      ([, comment = '', name = '', value = '']) =>
        `| \`${name}\` | ${Number(value.replaceAll('_', '')).toLocaleString('en')} | ${comment.replaceAll(/\s*\n\s*\*\s*/g, ' ')} |\n`,
    )
    expect(rows.length).toBe([...table.matchAll(/^ {2}\w+: /gm)].length)
    return `| limit | value | what it bounds |\n| --- | --- | --- |\n${rows.join('')}`
  }

  function ruleRows(): string {
    const rows = Object.entries(rules).map(([name, what]) => `| ${name} | ${what} |\n`)
    return `| rule | what holds |\n| --- | --- |\n${rows.join('')}`
  }

  function optionRows(options: Options): string {
    const rows = Object.entries(options).map(([name, { takes, help }]) => {
      const shown = takes === undefined ? `--${name}` : `--${name} ${takes.replaceAll('|', '\\|')}`
      return `| \`${shown}\` | ${help.replaceAll('|', '\\|')} |\n`
    })
    return `| option | does |\n| --- | --- |\n${rows.join('')}`
  }

  function commandSections(): string {
    const sections = commands.map((command) => {
      const { name, says, more, options = {}, examples } = command
      // What all of them share stands once; the settings of a node have a page of their own.
      const own = Object.fromEntries(
        Object.entries(options).filter(([option]) => !Object.hasOwn(settingOptions, option)),
      )
      const takesSettings = Object.hasOwn(options, 'listen')
      return [
        `### ${name}\n`,
        `\`${usageOf(command)}\`: ${says}.${more === undefined ? '' : ` ${more}`}\n`,
        ...(takesSettings
          ? ['Takes every setting of [CONFIG.md](CONFIG.md) as an option, and `--config FILE`.\n']
          : []),
        ...(Object.keys(own).length === 0 ? [] : [optionRows(own)]),
        `\`\`\`sh\n${examples.join('\n')}\n\`\`\`\n`,
      ].join('\n')
    })
    return sections.join('\n')
  }

  function settingRows(): string {
    const rows = settingNames.map((name) => {
      const { reader, fallback, help } = settings[name]
      const shown = (Array.isArray(fallback) ? fallback.join(',') : fallback) ?? ''
      const flag = flagOf(name)
      const cells = [
        `\`${name}\``,
        flag === undefined ? '' : `\`--${flag} ${reader.takes.replaceAll('|', '\\|')}\``,
        `\`${environmentOf(name)}\``,
        shown === '' ? '' : `\`${String(shown)}\``,
        help,
      ]
      return `| ${cells.join(' | ')} |\n`
    })
    return `| setting, key in the file | flag | variable | default | what it does |\n| --- | --- | --- | --- | --- |\n${rows.join('')}`
  }

  function metricRows(): string {
    const rows = Object.entries<MetricFacts>(metricTable).map(
      ([name, { kind, labels, help }]) =>
        `| \`${metricPrefix}${name}\` | ${kind} | ${labels.map((label) => `\`${label}\``).join(' ')} | ${help} |\n`,
    )
    return `| metric | kind | labels | what it tells |\n| --- | --- | --- | --- |\n${rows.join('')}`
  }

  function bucketRows(): string {
    const rows = Object.entries<MetricFacts>(metricTable).flatMap(([name, { buckets: scale }]) =>
      scale === undefined ? [] : [`| \`${metricPrefix}${name}\` | ${buckets[scale].join(', ')} |\n`],
    )
    return `| histogram | upper bounds in seconds |\n| --- | --- |\n${rows.join('')}`
  }

  function typeRows(): string {
    const rows = types.map(({ name, operations, merge, expiring }) => {
      const calls = Object.entries(operations).map(
        ([operation, { parameters }]) =>
          `\`${operation}${parameters.length > 0 ? ` {${parameters.join(', ')}}` : ''}\``,
      )
      return `| ${name} | ${calls.join(' · ')} | ${merge} | ${expiring === true ? 'yes' : 'no'} |\n`
    })
    return `| type | operations | how concurrent writes merge | may expire |\n| --- | --- | --- | --- |\n${rows.join('')}`
  }
})

describe('what the documents say', () => {
  test('every type has its section in docs/TYPES.md', async () => {
    const sections = [...(await read('docs/TYPES.md')).matchAll(/^## (\w+)$/gm)].map(([, name]) => name)
    expect(types.map(({ name }) => name).filter((name) => !sections.includes(name))).toEqual([])
  })

  test('links and named files are there', async () => {
    const dangling: string[] = []
    for (const path of ['README.md', 'CHANGELOG.md', ...(await filesUnder('docs', '.md'))]) {
      const text = await read(path).catch(() => '')
      const links = [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
        .map(([, link = '']) => link)
        .filter((link) => !/^[a-z]+:/.test(link))
        .map((link) => join(dirname(path), link))
      const named = [...text.matchAll(/`((?:src|test|examples|docs|scripts)\/[\w./-]*\w)`/g)].map(
        ([, name = '']) => name,
      )
      for (const file of [...links, ...named]) {
        if (!(await stat(join(root, file)).catch(() => undefined))) dangling.push(`${path}: ${file}`)
      }
    }
    expect(dangling).toEqual([])
  })

  /** A terminal shows headings and columns, a pipe tabs; moments and names of nodes are never the same. */
  function words(text: string): string[] {
    return text
      .split('\n')
      .filter((line) => !/^[A-Z][A-Z ]*$/.test(line))
      .map((line) =>
        line
          .replaceAll(/\d{4}-[\d-]+T[\d:.]+Z/g, 'WHEN')
          .replaceAll(/\s+/g, ' ')
          .trim(),
      )
      .filter((line) => line !== '')
  }

  test('the session in README.md goes as it says', async () => {
    const [, block = ''] = /^```console\n([\s\S]*?)^```$/m.exec(await read('README.md')) ?? []
    const steps = [...block.matchAll(/^\$ bin\/skein\.js (.*)\n((?:(?!\$ ).*\n)*)/gm)]
    expect(steps.length).toBeGreaterThan(3)
    const folder = await mkdtemp(join(tmpdir(), 'skein-readme-'))
    try {
      await using node = await daemon(['--dir', join(folder, 'data')])
      for (const [, command = '', output = ''] of steps) {
        const { out, err } = await skein(command.split(' '), { environment: { SKEIN_NODE: node.ready.http } })
        expect([command, ...words(out + err)]).toEqual([command, ...words(output)])
      }
      await node.stop()
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  /** All `ts` blocks of a page, one after the other, are one program: it must run as it would for a reader. */
  test.each(['README.md', 'docs/EMBEDDING.md', 'docs/CONFLICTS.md', 'docs/SIMULATION.md', 'docs/CLIENT.md'])(
    'the code in %s runs',
    async (path) => {
      const text = await read(path)
      const code = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block).join('\n')
      expect(code).not.toBe('')
      const folder = await mkdtemp(join(tmpdir(), 'skein-docs-'))
      try {
        await mkdir(join(folder, 'node_modules'))
        await symlink(join(root, 'examples'), join(folder, 'node_modules', 'skein'), 'junction')
        for (const name of ['zod', 'yjs', '@automerge']) {
          await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name), 'junction')
        }
        await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
        await using node = path === 'docs/CLIENT.md' ? await daemon(['--dir', join(folder, 'data')]) : undefined
        const given = node === undefined ? '' : `const nodeUrl = '${node.ready.http}'\n`
        await writeFile(join(folder, 'page.ts'), given + code)
        const { status, complaints } = await run('page.ts', folder)
        expect(complaints).toBe('')
        expect(status).toBe(0)
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    },
  )
})

function run(file: string, cwd: string): Promise<{ status: number | null; complaints: string }> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, NO_COLOR: '1', NODE_OPTIONS: '' }
    const child = spawn(process.execPath, [file], { cwd, env, stdio: ['ignore', 'ignore', 'pipe'] })
    let complaints = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text))
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, complaints }))
  })
}
