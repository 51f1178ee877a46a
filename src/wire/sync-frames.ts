/** Frames of anti-entropy: greeting, vectors, chains, the tree, the sketch; and the request for budget rights. */
import { assert } from '../base/assert.ts'
import { toHex } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import type { Reader, Writer } from '../base/msgpack.ts'
import { linkBytes } from '../crdt/delta.ts'
import type { Dot, OriginId } from '../crdt/dot.ts'
import {
  bounded,
  byOrigin,
  chainBytes,
  idBytes,
  readBytes,
  readDots,
  readFlags,
  readSeqs,
  readSortedTable,
  readSpace,
  readTable,
  readVarint,
  writeBytes,
  writeDots,
  writeFlags,
  writeHex,
  writeInside,
  writeSeqs,
  writeTable,
  writeVarint,
} from './fields.ts'
import type { FrameCodecs } from './fields.ts'
import type { ChainHead, Fork, Head, LinkRun, SpaceId, VectorEntry } from './frame.ts'
import { hexOfWord } from './names.ts'

/** Space, context, root, a byte of flags; the count follows in as many bytes as it needs. */
const greetingHead = 3 * idBytes + 1

/** Bytes of a number without leading zero bytes. */
function writeShortest(writer: Writer, value: number): void {
  if (value >= 0x100) writeShortest(writer, Math.floor(value / 0x100))
  writer.byte(value % 0x100)
}

function shortestLength(value: number): number {
  let length = 1
  for (let rest = value; rest >= 0x100; rest = Math.floor(rest / 0x100)) length++
  return length
}

/** Gap to the entry before, sequence, as varints in one byte string. */
function writeShortEntries(writer: Writer, entries: readonly VectorEntry[]): void {
  assert(entries.length <= limits.frameOrigins, 'a frame names no more origins than the limit')
  const sorted = entries
    .map(({ origin, seq }) => ({ short: Number.parseInt(origin, 16), seq }))
    .sort((a, b) => a.short - b.short || a.seq - b.seq)
  writeInside(writer, (inside) => {
    let previous = 0
    for (const { short, seq } of sorted) {
      writeVarint(inside, short - previous)
      writeVarint(inside, seq)
      previous = short
    }
  })
}

function readShortEntries(reader: Reader): VectorEntry[] {
  const bytes = reader.bin()
  const end = reader.at
  reader.at -= bytes.length
  const entries: VectorEntry[] = []
  let short = 0
  let last = 0
  while (reader.at < end) {
    const gap = readVarint(reader)
    short += gap
    if (short > 0xffff_ffff) reader.fail('an origin beyond 32 bits')
    const seq = readVarint(reader)
    if (seq < 1) reader.fail('sequences start at 1')
    if (gap === 0 && seq < last) reader.fail('origins out of order')
    last = seq
    bounded(entries.length + 1, limits.frameOrigins, 'origins of a frame')
    entries.push({ origin: hexOfWord(short), seq })
  }
  if (reader.at !== end) reader.fail('half an entry')
  return entries
}

/** The chain hashes of some heads, one after the other. */
function writeChains(writer: Writer, heads: readonly ChainHead[]): void {
  writer.binHeader(chainBytes * heads.length)
  for (const { chain } of heads) {
    assert(chain.length === chainBytes, 'a chain hash has 16 bytes')
    writer.raw(chain)
  }
}

function chainAt(chains: Uint8Array, place: number): Uint8Array {
  return chains.subarray(chainBytes * place, chainBytes * (place + 1))
}

/** The heads that end a fork: [place among the heads, seq, at, link, …]. */
function writeForks(writer: Writer, heads: readonly ChainHead[]): void {
  const forked = [...heads.entries()].filter(([, { fork }]) => fork !== undefined)
  writer.array(4 * forked.length)
  for (const [place, { fork }] of forked) {
    const { seq, at, link } = fork as Fork
    writer.number(place)
    writer.number(seq)
    writer.number(at)
    writeBytes(writer, link, linkBytes)
  }
}

function readForks<T extends ChainHead>(reader: Reader, heads: T[]): T[] {
  const items = reader.array()
  if (items % 4 !== 0) reader.fail('half a fork')
  let next = 0
  for (let left = items; left > 0; left -= 4) {
    const place = reader.uint()
    const head = heads[place]
    if (head === undefined || place < next) return reader.fail('a fork of no head')
    next = place + 1
    const seq = reader.uint()
    const at = reader.uint()
    if (seq < 1 || at < seq || at > head.seq) reader.fail('a fork beyond its end')
    heads[place] = { ...head, fork: { seq, at, link: readBytes(reader, linkBytes) } }
  }
  return heads
}

/** [place among the heads, from, links, …]. */
function writeLinks(writer: Writer, heads: readonly ChainHead[], runs: readonly LinkRun[]): void {
  const places = new Map(heads.map(({ origin }, place) => [origin, place]))
  writer.array(3 * runs.length)
  for (const { origin, from, links } of byOrigin(runs)) {
    const place = places.get(origin)
    assert(place !== undefined && links.length % linkBytes === 0, 'links of a head, 8 bytes each')
    writer.number(place)
    writer.number(from)
    writer.bin(links)
  }
}

function readLinks(reader: Reader, heads: readonly ChainHead[]): LinkRun[] {
  const items = reader.array()
  if (items % 3 !== 0) reader.fail('half a run of links')
  const runs: LinkRun[] = []
  let next = 0
  for (let left = items; left > 0; left -= 3) {
    const place = reader.uint()
    const head = heads[place]
    if (head === undefined || place < next) return reader.fail('links of no head')
    next = place + 1
    const from = reader.uint()
    const links = reader.bin()
    if (links.length % linkBytes !== 0) reader.fail('half a link')
    if (from < 1 || from + links.length / linkBytes > head.seq + 1) reader.fail('links beyond their head')
    runs.push({ origin: head.origin, from, links })
  }
  return runs
}

/** The chain before some heads: [place among the heads, links, …]. */
function writeTrails(writer: Writer, heads: readonly Head[]): void {
  const trails = [...heads.entries()].filter(([, { links }]) => links !== undefined)
  writer.array(2 * trails.length)
  for (const [place, { seq, links }] of trails) {
    const { length } = links as Uint8Array
    assert(length > 0 && length % linkBytes === 0 && length / linkBytes < seq, 'links before a head, 8 bytes each')
    writer.number(place)
    writer.bin(links as Uint8Array)
  }
}

function readTrails(reader: Reader, heads: Head[]): Head[] {
  const items = reader.array()
  if (items % 2 !== 0) reader.fail('half of the links of a head')
  let next = 0
  for (let left = items; left > 0; left -= 2) {
    const place = reader.uint()
    const head = heads[place]
    if (head === undefined || place < next) return reader.fail('links of no head')
    next = place + 1
    const links = reader.bin()
    if (links.length === 0 || links.length % linkBytes !== 0) reader.fail('half a link')
    if (links.length / linkBytes >= head.seq) reader.fail('links before the first delta')
    heads[place] = { ...head, links }
  }
  return heads
}

/**
 * The heads of an offer as five fields: a sorted table of all origins that are heads or in a context, their sequences
 * (0 for one that is no head), chains and times of the heads, and for each head, in the order in which they are told,
 * [place among the heads, gap, sequence, …]: what its context has other than the one told before, and how many places of the
 * table lie between this dot and the one before.
 */
function writeHeads(writer: Writer, space: SpaceId, heads: readonly Head[]): void {
  const sorted = byOrigin(heads)
  const seqs = new Map<OriginId, number>()
  let dots = 0
  for (const { origin, seq, context } of sorted) {
    assert(seq >= 1, 'sequences start at 1')
    seqs.set(origin, seq)
    dots += context.length
  }
  assert(dots <= limits.frameDots, 'a frame holds no more dots than the limit')
  for (const { context } of sorted) for (const { origin } of context) if (!seqs.has(origin)) seqs.set(origin, 0)
  const origins = [...seqs.keys()].sort()
  const places = new Map(origins.map((origin, place) => [origin, place]))
  writeTable(writer, space, origins)
  writer.array(origins.length)
  for (const origin of origins) writer.number(seqs.get(origin) as number)
  writeChains(writer, sorted)
  writer.array(sorted.length)
  for (const { time } of sorted) writer.number(time)
  writer.array(sorted.length)
  const placeOfHead = new Map(sorted.map(({ origin }, place) => [origin, place]))
  for (const { origin: told, context } of heads) {
    writer.array(1 + 2 * context.length)
    writer.number(placeOfHead.get(told) as number)
    let next = 0
    for (const { origin, seq } of byOrigin(context)) {
      const place = places.get(origin) as number
      writer.number(place - next)
      writer.number(seq)
      next = place + 1
    }
  }
}

/** The heads sorted, and in which order they were told. */
function readHeads(reader: Reader): { space: SpaceId; sorted: Head[]; order: number[] } {
  const { space, origins } = readSortedTable(reader)
  const seqs = readSeqs(reader, origins.length, 0)
  const named = seqs.map((seq) => seq > 0)
  const places = [...seqs.keys()].filter((place) => seqs[place] !== 0)
  const chains = readBytes(reader, chainBytes * places.length)
  if (reader.array() !== places.length) reader.fail('a time for each head')
  const times = places.map(() => reader.uint())
  if (reader.array() !== places.length) reader.fail('a context for each head')
  let dots = 0
  const sorted: Head[] = []
  const order: number[] = []
  for (let told = 0; told < places.length; told++) {
    const items = reader.array() - 1
    if (items < 0 || items % 2 !== 0) reader.fail('half a dot')
    dots = bounded(dots + items / 2, limits.frameDots, 'dots of a frame')
    const at = reader.uint(places.length - 1)
    if (sorted[at] !== undefined) reader.fail('a context told twice')
    const context: Dot[] = []
    let next = 0
    for (let left = items; left > 0; left -= 2) {
      const other = next + reader.uint(origins.length - 1)
      const origin = origins[other]
      if (origin === undefined) reader.fail('an origin that the table lacks')
      const seq = reader.uint()
      if (seq === 0 && told === 0) reader.fail('sequences start at 1')
      context.push({ origin, seq })
      named[other] = true
      next = other + 1
    }
    const place = places[at] as number
    sorted[at] = {
      origin: origins[place] as OriginId,
      seq: seqs[place] as number,
      chain: chainAt(chains, at),
      time: times[at] as number,
      context,
    }
    order.push(at)
  }
  if (named.includes(false)) reader.fail('an origin that nothing names')
  return { space, sorted, order }
}

export const syncFrames: FrameCodecs<
  | 'greeting'
  | 'vector'
  | 'stored'
  | 'stored-ask'
  | 'chains'
  | 'tree-ask'
  | 'tree-offer'
  | 'tree-cells'
  | 'tree-ack'
  | 'sketch'
  | 'sketch-ask'
  | 'rights-ask'
> = {
  // One byte string: this is what an idle fleet says all day.
  greeting: {
    code: 0x18,
    fields: 1,
    write(writer, { space, context, root, count, durable, catchingUp, answer }) {
      assert(context.length === idBytes && root.length === idBytes, 'digests of a greeting have 8 bytes')
      writer.binHeader(greetingHead + shortestLength(count))
      writeHex(writer, space)
      writer.raw(context)
      writer.raw(root)
      writeFlags(writer, durable, catchingUp, answer)
      writeShortest(writer, count)
    },
    read(reader) {
      const bytes = reader.bin()
      const length = bytes.length - greetingHead
      if (length < 1 || length > 7) reader.fail('a greeting of another length')
      const flags = bytes[greetingHead - 1] as number
      let count = 0
      for (let at = greetingHead; at < bytes.length; at++) count = count * 0x100 + (bytes[at] as number)
      if (length > 1 && bytes[greetingHead] === 0) reader.fail('a longer number than needed')
      if (count > Number.MAX_SAFE_INTEGER) reader.fail('a number out of range')
      return {
        kind: 'greeting',
        space: toHex(bytes, 0, idBytes) as SpaceId,
        context: bytes.subarray(idBytes, 2 * idBytes),
        root: bytes.subarray(2 * idBytes, 3 * idBytes),
        count,
        durable: (flags & 1) !== 0,
        catchingUp: (flags & 2) !== 0,
        answer: (flags & 4) !== 0,
      }
    },
  },
  vector: {
    code: 0x19,
    fields: 3,
    write(writer, { space, entries, form, answer }) {
      if (form === 'short') {
        writeTable(writer, space)
        writeFlags(writer, answer, true)
        writeShortEntries(writer, entries)
        return
      }
      const sorted = byOrigin(entries)
      writeTable(
        writer,
        space,
        sorted.map(({ origin }) => origin),
      )
      writeFlags(writer, answer, false)
      writeSeqs(writer, sorted)
    },
    read(reader) {
      const { space, origins } = readSortedTable(reader)
      const flags = readFlags(reader)
      const answer = (flags & 1) !== 0
      if ((flags & 2) !== 0) {
        if (origins.length > 0) reader.fail('a table with origins that nothing names')
        return { kind: 'vector', space, entries: readShortEntries(reader), form: 'short', answer }
      }
      const seqs = readSeqs(reader, origins.length, 1)
      const entries = origins.map((origin, at) => ({ origin, seq: seqs[at] as number }))
      return { kind: 'vector', space, entries, form: 'full', answer }
    },
  },
  stored: {
    code: 0x1a,
    fields: 2,
    write: (writer, { space, vector }) => writeDots(writer, space, vector),
    // 0 takes back what was said: it went back before the first.
    read(reader) {
      const { space, dots } = readDots(reader, 0)
      return { kind: 'stored', space, vector: dots }
    },
  },
  'stored-ask': {
    code: 0x29,
    fields: 2,
    write: (writer, { space, vector }) => writeDots(writer, space, vector),
    read(reader) {
      const { space, dots } = readDots(reader, 1)
      return { kind: 'stored-ask', space, vector: dots }
    },
  },
  chains: {
    code: 0x1b,
    fields: 6,
    write(writer, { space, heads, links, answer }) {
      const sorted = byOrigin(heads)
      writeDots(writer, space, sorted)
      writeFlags(writer, answer)
      writeChains(writer, sorted)
      writeForks(writer, sorted)
      writeLinks(writer, sorted, links)
    },
    read(reader) {
      const { space, dots } = readDots(reader, 1)
      const flags = readFlags(reader)
      const chains = readBytes(reader, chainBytes * dots.length)
      const heads = readForks(
        reader,
        dots.map((dot, at) => ({ ...dot, chain: chainAt(chains, at) })),
      )
      return { kind: 'chains', space, heads, links: readLinks(reader, heads), answer: (flags & 1) !== 0 }
    },
  },
  'tree-ask': {
    code: 0x20,
    fields: 6,
    write(writer, { space, session, vector, sums, after }) {
      assert(sums.length % 8 === 0 && sums.length <= limits.leafSumBytes, 'leaf sums have 8 bytes each')
      const sorted = byOrigin(vector)
      writeDots(writer, space, sorted)
      writeChains(writer, sorted)
      writer.number(session)
      writer.bin(sums)
      writer.string(after)
    },
    read(reader) {
      const { space, dots } = readDots(reader, 1)
      const chains = readBytes(reader, chainBytes * dots.length)
      const vector = dots.map((dot, at) => ({ ...dot, chain: chainAt(chains, at) }))
      const session = reader.uint()
      const sums = reader.bin()
      bounded(sums.length, limits.leafSumBytes, 'bytes of leaf sums')
      if (sums.length % 8 !== 0) reader.fail('half a leaf sum')
      return { kind: 'tree-ask', space, session, vector, sums, after: reader.string() }
    },
  },
  'tree-offer': {
    code: 0x21,
    fields: 11,
    write(writer, { space, session, heads, buckets, count, root }) {
      writeHeads(writer, space, heads)
      writeForks(writer, byOrigin(heads))
      writeTrails(writer, byOrigin(heads))
      writer.number(session)
      assert(8 * buckets.length <= limits.leafSumBytes / 8, 'a bit for each leaf at most')
      writer.bin(buckets)
      writer.number(count)
      writeBytes(writer, root, chainBytes)
    },
    read(reader) {
      const { space, sorted, order } = readHeads(reader)
      const whole = readTrails(reader, readForks(reader, sorted))
      const heads = order.map((at) => whole[at] as Head)
      const session = reader.uint()
      const buckets = reader.bin()
      bounded(8 * buckets.length, limits.leafSumBytes / 8, 'buckets')
      return {
        kind: 'tree-offer',
        space,
        session,
        heads,
        buckets,
        count: reader.uint(),
        root: readBytes(reader, chainBytes),
      }
    },
  },
  'tree-cells': {
    code: 0x22,
    fields: 5,
    write(writer, { space, session, seq, cells, last }) {
      writeTable(writer, space)
      writeFlags(writer, last)
      writer.number(session)
      writer.number(seq)
      writer.bin(cells)
    },
    read(reader) {
      const space = readSpace(reader)
      const last = (readFlags(reader) & 1) !== 0
      return { kind: 'tree-cells', space, session: reader.uint(), seq: reader.uint(), cells: reader.bin(), last }
    },
  },
  'tree-ack': {
    code: 0x23,
    fields: 4,
    write(writer, { space, session, seq, stop }) {
      writeTable(writer, space)
      writeFlags(writer, stop)
      writer.number(session)
      writer.number(seq)
    },
    read(reader) {
      const space = readSpace(reader)
      const stop = (readFlags(reader) & 1) !== 0
      return { kind: 'tree-ack', space, session: reader.uint(), seq: reader.uint(), stop }
    },
  },
  sketch: {
    code: 0x24,
    fields: 5,
    write(writer, { space, session, context, from, cells }) {
      writeTable(writer, space)
      writer.number(session)
      writeBytes(writer, context, idBytes)
      writer.number(from)
      writer.bin(cells)
    },
    read: (reader) => ({
      kind: 'sketch',
      space: readSpace(reader),
      session: reader.uint(),
      context: readBytes(reader, idBytes),
      from: reader.uint(),
      cells: reader.bin(),
    }),
  },
  'sketch-ask': {
    code: 0x25,
    fields: 5,
    write(writer, { space, session, more, digests, cells }) {
      assert(digests.length % 8 === 0, 'digests have 8 bytes each')
      writeTable(writer, space)
      writer.number(session)
      writer.number(more)
      writer.bin(digests)
      writer.bin(cells)
    },
    read(reader) {
      const space = readSpace(reader)
      const session = reader.uint()
      const more = reader.uint()
      const digests = reader.bin()
      if (digests.length % 8 !== 0) reader.fail('half a digest')
      return { kind: 'sketch-ask', space, session, more, digests, cells: reader.bin() }
    },
  },
  'rights-ask': {
    code: 0x28,
    fields: 3,
    write(writer, { space, key, to, amount }) {
      writeTable(writer, space, [to])
      writer.string(key)
      writer.number(amount)
    },
    read(reader) {
      const { space, origins } = readTable(reader)
      const [to] = origins
      if (to === undefined || origins.length > 1) return reader.fail('one origin was expected')
      return { kind: 'rights-ask', space, key: reader.string(), to, amount: reader.uint() }
    },
  },
}
