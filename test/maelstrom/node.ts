/**
 * A node for Maelstrom (github.com/jepsen-io/maelstrom), the workbench of Jepsen's authors: JSON lines on stdin and stdout, a network
 * that it simulates, and its own checkers. Each node is a whole one of ours in memory, and its links go over that network.
 * Workloads: broadcast, g-set, pn-counter, g-counter, unique-ids.
 */
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { SkeinNode } from '../../src/node/node.ts'
import { openMemoryStore } from '../../src/store/memory.ts'
import { MaelstromTransport } from './wires.ts'
import type { LinkBody } from './wires.ts'

interface Message {
  readonly src: string
  readonly dest: string
  readonly body: Readonly<Record<string, unknown>> & { readonly type: string; readonly msg_id?: number }
}

type Answer = Readonly<Record<string, unknown>> & { readonly type: string }
type Handler = (node: SkeinNode, body: Message['body'], own: string) => Answer

/** Maelstrom's code for a request that a node does not know. */
const notSupported = 10
const dayMs = 86_400_000

/** Of the workload that runs one is used; which it is cannot be seen from `read`. */
let reads: Handler = () => ({ type: 'read_ok', value: 0 })

const elements: Handler = (node) => ({ type: 'read_ok', value: elementsOf(node), messages: elementsOf(node) })

function elementsOf(node: SkeinNode): unknown[] {
  return [...node.space('work').set('elements').get().value]
}

const handlers: Readonly<Record<string, Handler>> = {
  topology: () => {
    reads = elements
    return { type: 'topology_ok' }
  },
  broadcast(node, { message }) {
    reads = elements
    node
      .space('work')
      .set('elements')
      .add(message as number)
    return { type: 'broadcast_ok' }
  },
  add(node, { element, delta }) {
    if (element !== undefined) {
      reads = elements
      node
        .space('work')
        .set('elements')
        .add(element as number)
    } else {
      reads = total
      node
        .space('work')
        .counter('total')
        .incr(delta as number)
    }
    return { type: 'add_ok' }
  },
  generate(node) {
    // The name of a delta is unique in the fleet, for ever: that is what names are for.
    return { type: 'generate_ok', id: node.space('work').counter('ids').incr(1).version }
  },
  read: (node, body, own) => reads(node, body, own),
}

const total: Handler = (node) => ({ type: 'read_ok', value: node.space('work').counter('total').get().value })

function say(src: string, dest: string, body: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`${JSON.stringify({ src, dest, body })}\n`)
}

async function main(): Promise<void> {
  let own = ''
  let transport: MaelstromTransport | undefined
  let node: SkeinNode | undefined
  let said = 0
  const early: Message[] = []
  const handle = (message: Message): void => {
    const { src, body } = message
    if (body.type === 'link') return transport?.message(src, body as unknown as LinkBody)
    if (node === undefined) return void early.push(message)
    const handler = handlers[body.type]
    const answer: Answer =
      handler === undefined
        ? { type: 'error', code: notSupported, text: `there is no ${body.type} here` }
        : handler(node, body, own)
    say(own, src, { ...answer, msg_id: ++said, in_reply_to: body.msg_id })
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const message = JSON.parse(line) as Message
    const { src, body } = message
    if (body.type !== 'init') {
      handle(message)
      continue
    }
    own = String(body['node_id'])
    const others = (body['node_ids'] as readonly string[]).filter((other) => other !== own)
    transport = new MaelstromTransport(own, (to, link) => say(own, to, { ...link }))
    node = await SkeinNode.open({
      store: openMemoryStore(),
      agent: own,
      durability: 'memory',
      retention: { keepMs: dayMs, keepBytes: 64 * 1024 * 1024 },
      cacheBytes: 32 * 1024 * 1024,
      fresh: () => randomBytes(8).toString('hex'),
      now: Date.now,
      network: {
        transports: [transport],
        join: others.map((other) => `maelstrom:${other}`),
        zone: '',
        fleet: '6d61656c7374726f',
        roster: 'auto',
        holds: () => true,
      },
    })
    say(own, src, { type: 'init_ok', msg_id: ++said, in_reply_to: body.msg_id })
    for (const one of early.splice(0)) handle(one)
  }
  await node?.close()
}

// Whoever started it has gone.
process.stdout.on('error', () => process.exit(0))
await main()
