import { expect, test } from 'vitest'
import { didYouMean, nearest } from './nearest.ts'

const known = ['claim', 'release', 'status', 'spaces', 'sync', 'completion']

test.each([
  ['claym', 'claim'],
  ['stauts', 'status'],
  ['spcaes', 'spaces'],
  ['comp', 'completion'],
  ['STATUS', 'status'],
  ['zzzz', undefined],
  ['x', undefined],
])('of %s the nearest is %s', (word, meant) => {
  expect(nearest(word, known)).toBe(meant)
})

test('a sentence, or nothing', () => {
  expect(didYouMean('realese', known)).toBe(' Did you mean release?')
  expect(didYouMean('jon', ['join'], '--')).toBe(' Did you mean --join?')
  expect(didYouMean('quux', known)).toBe('')
})
