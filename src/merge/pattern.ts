/**
 * Patterns that are matched in a time bounded by the length of the text and of the pattern, whatever either says: a regular
 * expression without groups, alternatives within it or references. `a|b` stands for two patterns. Every state that the
 * pattern may be in is followed at once (Thompson, Regular Expression Search Algorithm, 1968), so nothing is tried again.
 */

interface Item {
  readonly fits: (unit: number) => boolean
  /** May it be left out; may it come again? */
  readonly optional: boolean
  readonly repeats: boolean
}

interface Branch {
  readonly items: readonly Item[]
  readonly fromStart: boolean
  readonly toEnd: boolean
}

export type Pattern = readonly Branch[]

/** Items of one pattern, repetitions counted out. */
const mostItems = 256

/** Undefined for what is no pattern of this kind. */
export function patternOf(text: string): Pattern | undefined {
  const branches: Branch[] = []
  let reading = new Reading(text)
  for (;;) {
    const branch = reading.branch()
    if (branch === undefined) return undefined
    branches.push(branch)
    if (reading.rest === '') return branches
    reading = new Reading(reading.rest.slice(1))
  }
}

export function matches(pattern: Pattern, text: string): boolean {
  return pattern.some((branch) => fitsBranch(branch, text))
}

function fitsBranch({ items, fromStart, toEnd }: Branch, text: string): boolean {
  const last = items.length
  let states = new Uint8Array(last + 1)
  const enter = (into: Uint8Array, at: number): void => {
    for (; into[at] === 0; at++) {
      into[at] = 1
      if (at === last || !(items[at] as Item).optional) return
    }
  }
  enter(states, 0)
  for (let at = 0; at < text.length; at++) {
    if (!toEnd && states[last] === 1) return true
    const unit = text.charCodeAt(at)
    const next = new Uint8Array(last + 1)
    for (let state = 0; state < last; state++) {
      const item = items[state] as Item
      if (states[state] === 0 || !item.fits(unit)) continue
      if (item.repeats) enter(next, state)
      enter(next, state + 1)
    }
    if (!fromStart) enter(next, 0)
    states = next
  }
  return states[last] === 1
}

class Reading {
  rest: string

  constructor(text: string) {
    this.rest = text
  }

  branch(): Branch | undefined {
    const fromStart = this.#take('^')
    const items: Item[] = []
    while (this.rest !== '' && this.rest[0] !== '|' && this.rest !== '$' && !this.rest.startsWith('$|')) {
      const fits = this.#atom()
      const times = fits && this.#times()
      if (fits === undefined || times === undefined) return undefined
      const [least, most] = times
      for (let count = 0; count < least; count++) items.push({ fits, optional: false, repeats: false })
      if (most === Infinity) items.push({ fits, optional: true, repeats: true })
      else for (let count = least; count < most; count++) items.push({ fits, optional: true, repeats: false })
      if (items.length > mostItems) return undefined
    }
    return { items, fromStart, toEnd: this.#take('$') }
  }

  #take(text: string): boolean {
    if (!this.rest.startsWith(text)) return false
    this.rest = this.rest.slice(text.length)
    return true
  }

  #atom(): Item['fits'] | undefined {
    const [found] = /^(?:\[\^?(?:\\[^]|[^\]\\])+\]|\\[^]|[^\\()[\]{}*+?|^$])/.exec(this.rest) ?? []
    if (found === undefined) return undefined
    this.rest = this.rest.slice(found.length)
    if (found === '.') return (unit) => unit !== 10 && unit !== 13
    if (found.startsWith('[')) return classOf(found.slice(1, -1))
    return found.length === 1 ? isUnit(found) : escaped(found.charAt(1))
  }

  #times(): readonly [number, number] | undefined {
    if (this.#take('*')) return [0, Infinity]
    if (this.#take('+')) return [1, Infinity]
    if (this.#take('?')) return [0, 1]
    const [found, least, comma, most] = /^\{(\d{1,3})(,?)(\d{0,3})\}/.exec(this.rest) ?? []
    if (found === undefined) return [1, 1]
    this.rest = this.rest.slice(found.length)
    const from = Number(least)
    const to = comma === '' ? from : most === '' ? Infinity : Number(most)
    return from <= to ? [from, to] : undefined
  }
}

function isUnit(text: string): Item['fits'] {
  const wanted = text.charCodeAt(0)
  return (unit) => unit === wanted
}

const isDigit = (unit: number): boolean => unit >= 48 && unit <= 57
const isWord = (unit: number): boolean =>
  isDigit(unit) || unit === 95 || (unit >= 65 && unit <= 90) || (unit >= 97 && unit <= 122)
const isSpace = (unit: number): boolean => /\s/.test(String.fromCharCode(unit))

/** What follows a backslash. */
function escaped(letter: string): Item['fits'] | undefined {
  switch (letter) {
    case 'd':
      return isDigit
    case 'D':
      return (unit) => !isDigit(unit)
    case 'w':
      return isWord
    case 'W':
      return (unit) => !isWord(unit)
    case 's':
      return isSpace
    case 'S':
      return (unit) => !isSpace(unit)
    case 'n':
      return isUnit('\n')
    case 't':
      return isUnit('\t')
    default:
      return isWord(letter.charCodeAt(0)) ? undefined : isUnit(letter)
  }
}

function classOf(inside: string): Item['fits'] | undefined {
  const isNot = inside.startsWith('^')
  const tests: Item['fits'][] = []
  let rest = isNot ? inside.slice(1) : inside
  while (rest !== '') {
    const range = /^([^\\])-([^\\])/.exec(rest)
    if (range !== null) {
      const [from, to] = [range[1], range[2]].map((end) => (end as string).charCodeAt(0)) as [number, number]
      if (from > to) return undefined
      tests.push((unit) => unit >= from && unit <= to)
      rest = rest.slice(range[0].length)
      continue
    }
    const test = rest.startsWith('\\') ? escaped(rest.charAt(1)) : isUnit(rest)
    if (test === undefined) return undefined
    tests.push(test)
    rest = rest.slice(rest.startsWith('\\') ? 2 : 1)
  }
  return (unit) => tests.some((test) => test(unit)) !== isNot
}
