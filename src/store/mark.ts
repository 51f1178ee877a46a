/**
 * The high-water mark: a small file beside the database that says which batch was acknowledged last. A log that was cut,
 * or whose tail rotted, looks like one that ended earlier; only something outside of it can tell.
 *
 * It is written after every commit, before the commit is acknowledged, into the operating system's cache: some
 * microseconds, and exact after the death of the process. It is synced about once a second and at close, since a sync
 * at each commit would double its price; so after a power cut it may be a second or so behind, and what was acknowledged in
 * that second is not guarded by it (LevelDB's own sync keeps it all the same).
 *
 * Two slots on two pages are written in turn, each with its checksum: a torn write spoils one, the other is one older.
 */
import { readFileSync, fsync, openSync, closeSync, writeSync, fsyncSync } from 'node:fs'
import { checksum32 } from '../base/hash.ts'

/** A batch by number, with the chain up to it and the wall time of its acknowledgement. */
export interface MarkedBatch {
  readonly number: number
  readonly chain: Uint8Array
  readonly timeMs: number
}

export interface MarkState {
  /** The store was closed in order after these. */
  readonly clean: boolean
  /** The last batch acknowledged at any durability, and the last one synced. */
  readonly acknowledged: MarkedBatch
  readonly synced: MarkedBatch
  /** Tells one run of the machine from another; all zero where the system does not say. */
  readonly boot: Uint8Array
}

export const CHAIN_BYTES = 16
const SLOT_BYTES = 128
/** On another page than the first. */
const SECOND_SLOT = 4096
const FILE_BYTES = SECOND_SLOT + SLOT_BYTES
const MAGIC = 0x4b4d4b53 // "SKMK"
/** How long an acknowledged batch may go without a synced mark. A guess: a sync costs about a millisecond of the disk. */
const SYNC_INTERVAL_MS = 1000

export const noBatch: MarkedBatch = { number: 0, chain: new Uint8Array(CHAIN_BYTES), timeMs: 0 }

export interface MarkReading {
  /** The newest readable slot. */
  readonly state: MarkState | undefined
  readonly sequence: number
  /** `absent`: no such file. `half`: one slot is unreadable, so the state may be one commit old. */
  readonly condition: 'whole' | 'half' | 'unreadable' | 'absent'
}

export function readMark(path: string): MarkReading {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return { state: undefined, sequence: 0, condition: 'absent' }
  }
  const slots = [readSlot(bytes, 0), readSlot(bytes, SECOND_SLOT)].filter((slot) => slot !== undefined)
  const newest = slots.sort((a, b) => b.sequence - a.sequence)[0]
  return {
    state: newest?.state,
    sequence: newest?.sequence ?? 0,
    condition: slots.length === 2 ? 'whole' : slots.length === 1 ? 'half' : 'unreadable',
  }
}

function readSlot(bytes: Uint8Array, at: number): { sequence: number; state: MarkState } | undefined {
  if (bytes.length < at + SLOT_BYTES) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, SLOT_BYTES)
  const check = checksum32(bytes, at, at + SLOT_BYTES - 4, MAGIC)
  if (view.getUint32(0, true) !== MAGIC || view.getUint32(SLOT_BYTES - 4, true) !== check) return undefined
  const batch = (from: number): MarkedBatch => ({
    number: view.getFloat64(from, true),
    timeMs: view.getFloat64(from + 8, true),
    chain: bytes.slice(at + from + 16, at + from + 16 + CHAIN_BYTES),
  })
  return {
    sequence: view.getFloat64(8, true),
    state: {
      clean: view.getUint32(4, true) === 1,
      acknowledged: batch(16),
      synced: batch(48),
      boot: bytes.slice(at + 80, at + 96),
    },
  }
}

/** The identity of this run of the machine, where the system tells (Linux does). */
export function readBoot(): Uint8Array {
  const boot = new Uint8Array(16)
  try {
    const hex = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').replaceAll(/[^0-9a-f]/g, '')
    boot.set(Buffer.from(hex, 'hex').subarray(0, 16))
  } catch {
    // Another system: nobody can say then whether the machine was restarted.
  }
  return boot
}

/** An open mark. A failed write or sync of it is no failed commit: it only weakens what the next opening can notice. */
export class Mark {
  readonly #file: number
  readonly #slot: Uint8Array = new Uint8Array(SLOT_BYTES)
  readonly #view: DataView = new DataView(this.#slot.buffer)
  readonly #boot: Uint8Array
  /** The batch whose record stands in the slot, ready to be written. */
  #prepared: MarkedBatch | undefined
  #sequence: number
  #acknowledged: MarkedBatch
  #synced: MarkedBatch
  #timer: NodeJS.Timeout | undefined
  #syncing: Promise<void> | undefined
  #closed = false
  /** The last reason why the mark could not be kept, for the status. */
  failure: Error | undefined

  /** Opens or makes the file, writes both slots as unclean and syncs them: from here on a crash shows as one. */
  constructor(path: string, sequence: number, acknowledged: MarkedBatch, synced: MarkedBatch) {
    this.#sequence = sequence
    this.#acknowledged = acknowledged
    this.#synced = synced
    this.#boot = readBoot()
    this.#file = openForUpdate(path)
    try {
      this.#writeBoth(false)
      fsyncSync(this.#file)
    } catch (error) {
      closeSync(this.#file)
      throw error
    }
  }

  /** Called while a batch is on its way, when nothing else is to do: what `record` will write is made ready. */
  prepare(batch: MarkedBatch, synced: boolean): void {
    this.#fill(false, batch, synced ? batch : this.#synced)
    this.#prepared = batch
  }

  /** Called after a commit and before it is acknowledged. */
  record(batch: MarkedBatch, synced: boolean): void {
    this.#acknowledged = batch
    if (synced) this.#synced = batch
    try {
      if (this.#prepared !== batch) this.#fill(false, batch, this.#synced)
      this.#write()
      this.failure = undefined
    } catch (error) {
      this.failure = error as Error
    }
    if (this.#timer === undefined && !this.#closed) {
      this.#timer = setTimeout(() => this.#sync(), SYNC_INTERVAL_MS)
      this.#timer.unref()
    }
  }

  /** `clean` when the database was closed in order before. */
  async close(clean: boolean): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#syncing
    try {
      if (clean) this.#writeBoth(true)
      fsyncSync(this.#file)
    } catch (error) {
      this.failure = error as Error
    }
    closeSync(this.#file)
  }

  #sync(): void {
    this.#timer = undefined
    this.#syncing = new Promise((resolve) => {
      fsync(this.#file, (error) => {
        if (error) this.failure = error
        this.#syncing = undefined
        resolve()
      })
    })
  }

  #writeBoth(clean: boolean): void {
    for (let slot = 0; slot < 2; slot++) {
      this.#fill(clean, this.#acknowledged, this.#synced)
      this.#write()
    }
  }

  #fill(clean: boolean, acknowledged: MarkedBatch, synced: MarkedBatch): void {
    const view = this.#view
    view.setUint32(0, MAGIC, true)
    view.setUint32(4, clean ? 1 : 0, true)
    view.setFloat64(8, this.#sequence + 1, true)
    this.#batch(16, acknowledged)
    this.#batch(48, synced)
    this.#slot.set(this.#boot, 80)
    view.setUint32(SLOT_BYTES - 4, checksum32(this.#slot, 0, SLOT_BYTES - 4, MAGIC), true)
  }

  /** Writes the slot as it was filled. */
  #write(): void {
    this.#prepared = undefined
    this.#sequence++
    const at = this.#sequence % 2 === 0 ? 0 : SECOND_SLOT
    const written = writeSync(this.#file, this.#slot, 0, SLOT_BYTES, at)
    if (written !== SLOT_BYTES) throw new Error(`only ${written} of ${SLOT_BYTES} bytes of the mark were written`)
  }

  #batch(at: number, batch: MarkedBatch): void {
    this.#view.setFloat64(at, batch.number, true)
    this.#view.setFloat64(at + 8, batch.timeMs, true)
    this.#slot.set(batch.chain, at + 16)
  }
}

function openForUpdate(path: string): number {
  try {
    return openSync(path, 'r+')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const file = openSync(path, 'wx+')
    // Both pages exist from the start, so that a full disk does not silence the mark.
    writeSync(file, new Uint8Array(FILE_BYTES), 0, FILE_BYTES, 0)
    return file
  }
}
