/** A raw mesh keeps the newest value of each key that came and sends nothing twice: what the two floors share. */
import type { OpenNode, Place } from './system.ts'

/** `key length (2), key, value`, in a buffer of its own. */
export function packed(key: string, value: string): Buffer {
  const keyBytes = Buffer.byteLength(key)
  const bytes = Buffer.allocUnsafe(2 + keyBytes + Buffer.byteLength(value))
  bytes.writeUInt16BE(keyBytes)
  bytes.write(key, 2)
  bytes.write(value, 2 + keyBytes)
  return bytes
}

export function unpacked(bytes: Buffer): readonly [key: string, value: string] {
  const keyBytes = bytes.readUInt16BE()
  return [bytes.toString('utf8', 2, 2 + keyBytes), bytes.toString('utf8', 2 + keyBytes)]
}

export interface Mesh {
  send(bytes: Buffer): void
  links(): number
  close(): void | Promise<void>
}

export async function rawNode(
  place: Place,
  open: (place: Place, came: (bytes: Buffer) => void) => Promise<Mesh>,
): Promise<OpenNode> {
  const state = new Map<string, string>()
  let changed: (key: string, value: string) => void = () => undefined
  const mesh = await open(place, (bytes) => {
    const [key, value] = unpacked(bytes)
    state.set(key, value)
    changed(key, value)
  })
  return {
    write(key, value) {
      state.set(key, value)
      mesh.send(packed(key, value))
    },
    read: (key) => state.get(key),
    count: () => state.size,
    onChange(listener) {
      changed = listener
    },
    ready: () => mesh.links() === place.nodes - 1,
    close: () => mesh.close(),
  }
}
