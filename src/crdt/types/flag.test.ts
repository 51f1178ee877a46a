import { expect, test } from 'vitest'
import { rootPath } from '../cell.ts'
import { flag } from './flag.ts'
import { Writer, meet } from './writers.test-model.ts'

const writers = (): [Writer<boolean>, Writer<boolean>] => [new Writer(flag, 1), new Writer(flag, 2)]

test('enabling wins over a concurrent disabling', () => {
  const [a, b] = writers()
  expect(a.value).toBe(false)
  a.do('enable')
  meet(a, b)
  a.do('disable')
  expect(a.value).toBe(false)
  b.do('disable')
  b.do('enable')
  meet(a, b)
  expect(a.value).toBe(true)
})

test('a disabling that asks to win does, until somebody enables anew', () => {
  const [a, b] = writers()
  a.do('disable', { wins: 'disable' })
  b.do('enable')
  meet(a, b)
  expect(a.value).toBe(false)
  b.do('enable')
  meet(a, b)
  expect(a.value).toBe(true)
})

test('what changes nothing is no write', () => {
  const [a] = writers()
  expect(a.do('disable')).toBeUndefined()
  a.do('enable')
  expect(a.do('enable')).toBeUndefined()
  a.do('disable', { wins: 'disable' })
  expect(a.do('disable', { wins: 'disable' })).toBeUndefined()
  expect(a.do('disable', { wins: 'enable' })).toBeUndefined()
})

test('nonsense is neither yes nor no', () => {
  const [a] = writers()
  a.forge([[rootPath, 'yes']])
  expect(a.value).toBe(false)
  a.do('enable')
  expect(a.value).toBe(true)
  expect(a.refusal('disable', { wins: 'never' })).toBe('invalid_argument')
})
