/** Every example is run as a reader would run it and must print what it says that it prints. */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const folder = join(import.meta.dirname, '..', 'examples')
const notExamples = ['skein.ts', 'testing.ts', 'client-entry.ts']
const names = (await readdir(folder)).filter((name) => name.endsWith('.ts') && !notExamples.includes(name))

/** The comment lines after the last `// prints:`, which must end the file. */
function promised(source: string): string {
  const [, block = ''] = /\n\/\/ prints:\n((?:\/\/.*\n)+)$/.exec(source) ?? []
  return block.replaceAll(/^\/\/ ?/gm, '')
}

function run(file: string, temporary: string): Promise<{ code: number | null; output: string; complaints: string }> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, TMPDIR: temporary, TEMP: temporary, NO_COLOR: '1', NODE_OPTIONS: '' }
    const child = spawn(process.execPath, [file], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    let complaints = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, output, complaints }))
  })
}

test('there are examples', () => {
  expect(names.length).toBeGreaterThan(10)
})

test.concurrent.each(names)('%s prints what it says, and leaves nothing behind', async (name) => {
  const file = join(folder, name)
  const expected = promised(await readFile(file, 'utf8'))
  expect(expected, `${name} ends with a comment block "// prints:"`).not.toBe('')
  const temporary = await mkdtemp(join(tmpdir(), 'skein-example-'))
  try {
    const { code, output, complaints } = await run(file, temporary)
    expect(complaints).toBe('')
    expect(output).toBe(expected)
    expect(code).toBe(0)
    expect(await readdir(temporary)).toEqual([])
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
})
