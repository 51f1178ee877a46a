import { expect, test } from 'vitest'
import { joinText } from './config-values.ts'
import { resolveJoin } from './join.ts'

const join = ['ws://a:1', 'dns:fleet.internal:7400', 'b:2'].map((text) => joinText.read(text))

test('every address of a name is somebody to begin with, once', async () => {
  const resolve = (): Promise<string[]> => Promise.resolve(['10.0.0.1', 'fd00::1', '10.0.0.1'])
  expect(await resolveJoin(join, false, resolve)).toEqual({
    addresses: ['ws://a:1', 'ws://10.0.0.1:7400', 'ws://[fd00::1]:7400', 'ws://b:2'],
    unknown: [],
  })
  const { addresses } = await resolveJoin(join, true, resolve)
  expect(addresses).toContain('wss://10.0.0.1:7400')
})

test('a name is asked for again, and one that nobody knows is told', async () => {
  let asked = 0
  const late = (): Promise<string[]> => {
    if (++asked < 3) return Promise.reject(Object.assign(new Error('later'), { code: 'EAI_AGAIN' }))
    return Promise.resolve(['10.0.0.9'])
  }
  expect((await resolveJoin(join, false, late)).addresses).toContain('ws://10.0.0.9:7400')
  const never = (): Promise<string[]> => Promise.reject(Object.assign(new Error('no'), { code: 'ENOTFOUND' }))
  expect(await resolveJoin(join, false, never)).toEqual({
    addresses: ['ws://a:1', 'ws://b:2'],
    unknown: ['fleet.internal: ENOTFOUND'],
  })
})

test('the system itself knows this host', async () => {
  const { addresses } = await resolveJoin([joinText.read('dns:localhost:7')], false)
  expect(addresses.length).toBeGreaterThan(0)
})
