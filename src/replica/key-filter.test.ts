import { expect, test } from 'vitest'
import { KeyFilter } from './key-filter.ts'

test('[R13] what was added is never denied, and little else is affirmed', () => {
  const filter = new KeyFilter()
  expect(filter.mayHave('task-0')).toBe(false)
  for (const count of [1, 500, 5_000, 50_000]) {
    for (let i = 0; i < count; i++) filter.add(`task-${i}`)
    for (let i = 0; i < count; i++) expect(filter.mayHave(`task-${i}`)).toBe(true)
    let wrong = 0
    for (let i = 0; i < 10_000; i++) if (filter.mayHave(`other/${i}`)) wrong++
    expect(wrong).toBeLessThan(600)
  }
})
