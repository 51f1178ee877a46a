import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { faults } from './mutants/faults.ts'

const root = join(import.meta.dirname, '..')

test('every planted fault still finds its place, and one only', () => {
  const astray = faults.filter(({ file, find }) => readFileSync(join(root, file), 'utf8').split(find).length !== 2)
  expect(astray.map(({ name }) => name)).toEqual([])
  expect(new Set(faults.map(({ name }) => name)).size).toBe(faults.length)
})
