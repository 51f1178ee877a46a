/** The keyboard of a terminal: single keys, and lines. */
import { createInterface } from 'node:readline/promises'
import type { Keyboard } from './conflict-decider.ts'

const interrupt = '\u0003'
const endOfInput = '\u0004'
const escape = '\u001B'

export class TerminalKeyboard implements Keyboard {
  readonly #input: NodeJS.ReadStream
  readonly #output: NodeJS.WritableStream

  constructor(input: NodeJS.ReadStream, output: NodeJS.WritableStream) {
    this.#input = input
    this.#output = output
  }

  key(): Promise<string | undefined> {
    const input = this.#input
    input.setRawMode(true)
    input.setEncoding('utf8')
    input.resume()
    return new Promise((resolve) => {
      const done = (key: string | undefined): void => {
        input.off('data', onData)
        input.off('end', onEnd)
        input.setRawMode(false)
        input.pause()
        resolve(key)
      }
      const onData = (text: string): void => {
        const [key = ''] = text
        // An arrow or a function key comes as several units, and is none of ours.
        if (key === escape) return
        done(key === interrupt || key === endOfInput ? undefined : key.toLowerCase())
        // Whoever types ahead is heard: by the next who listens, since nobody does now.
        const rest = text.slice(key.length)
        if (rest !== '') input.unshift(rest)
      }
      const onEnd = (): void => done(undefined)
      input.on('data', onData)
      input.on('end', onEnd)
    })
  }

  async line(words: string): Promise<string | undefined> {
    const lines = createInterface({ input: this.#input, output: this.#output })
    // Ctrl-C and Ctrl-D: he would rather not.
    const stop = new AbortController()
    lines.on('SIGINT', () => stop.abort())
    lines.on('close', () => stop.abort())
    try {
      return (await lines.question(words, { signal: stop.signal })).trim()
    } catch {
      this.#output.write('\n')
      return undefined
    } finally {
      lines.close()
    }
  }
}
