/** A client of the stream as docs/STREAM.md tells to write one. */
import { WebSocket } from 'ws'
import type { ClientOptions } from 'ws'

export type Message = Readonly<Record<string, unknown>>

export class StreamClient implements AsyncDisposable {
  readonly socket: WebSocket
  readonly frames: Message[][] = []
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  readonly #messages: Message[] = []
  #wake: (() => void) | undefined
  #id = 0

  private constructor(socket: WebSocket) {
    this.socket = socket
    socket.on('message', (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as Message[]
      this.frames.push(frame)
      this.#messages.push(...frame)
      this.#wake?.()
    })
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
  }

  static async open(url: string, options: ClientOptions = {}): Promise<StreamClient> {
    const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/stream`, 'skein.1', options)
    const client = new StreamClient(socket)
    await new Promise((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
    })
    return client
  }

  /** The first message, here or to come, that fits; it is taken out. */
  async take(fits: (message: Message) => boolean): Promise<Message> {
    for (;;) {
      const at = this.#messages.findIndex(fits)
      if (at >= 0) return this.#messages.splice(at, 1)[0] as Message
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  send(...messages: readonly Message[]): void {
    this.socket.send(JSON.stringify(messages))
  }

  async ask(message: Message): Promise<Message> {
    const id = ++this.#id
    this.send({ id, ...message })
    return this.take((answer) => answer['id'] === id)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.terminate()
    await this.closed
  }
}
