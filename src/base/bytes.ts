/** Byte strings, hexadecimal, order. The order of strings everywhere in Skein is that of their UTF-8 bytes. */

const encoder = new TextEncoder()

export function utf8(text: string): Uint8Array {
  return encoder.encode(text)
}

/** The length in UTF-8, without encoding; a lone surrogate counts three, as its replacement would. */
export function utf8Length(text: string): number {
  let length = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) continue
    if (unit < 0x800) length += 1
    else if (unit >= 0xd800 && unit < 0xdc00 && i + 1 < text.length && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
      length += 2
      i++
    } else length += 2
  }
  return length
}

/** Orders strings as their UTF-8 bytes are ordered. JavaScript's own order differs beyond the BMP. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    let x = a.charCodeAt(i)
    let y = b.charCodeAt(i)
    if (x === y) continue
    if (x >= 0xd800 && y >= 0xd800) {
      x = x >= 0xe000 ? x - 0x800 : x + 0x2000
      y = y >= 0xe000 ? y - 0x800 : y + 0x2000
    }
    return x - y
  }
  return a.length - b.length
}

export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a === b) return true
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Bytes as a string of code units 0 to 255: a map key whose JavaScript order is the order of the bytes. */
export function binaryString(bytes: Uint8Array, start: number = 0, end: number = bytes.length): string {
  let text = ''
  let at = start
  // Most are short: a view of them would cost more than they do.
  if (end - start > 64) {
    for (; at < end; at += 4096) {
      text += String.fromCharCode.apply(null, bytes.subarray(at, Math.min(at + 4096, end)) as unknown as number[])
    }
    return text
  }
  for (; at + 8 <= end; at += 8) text += fourUnits(bytes, at) + fourUnits(bytes, at + 4)
  if (at + 4 <= end) {
    text += fourUnits(bytes, at)
    at += 4
  }
  for (; at < end; at++) text += String.fromCharCode(bytes[at] as number)
  return text
}

function fourUnits(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(
    bytes[at] as number,
    bytes[at + 1] as number,
    bytes[at + 2] as number,
    bytes[at + 3] as number,
  )
}

/** ASCII is UTF-8 and a binary string alike: what is short and plain needs no decoder. */
export function isAscii(bytes: Uint8Array, start: number, end: number): boolean {
  let all = 0
  for (let at = start; at < end; at++) all |= bytes[at] as number
  return all < 0x80
}

/**
 * Names come again and again: mostly gives the same string for the same bytes, so that equal names are one object and
 * compare at once. It forgets: another name may take a place.
 */
class Interned {
  readonly #texts: string[] = Array.from({ length: 256 }, () => '')
  /** By place: the text without its first unit, where it was put together from the two. */
  readonly #tails: (string | undefined)[] = Array.from({ length: 256 }, () => undefined)

  /** Bytes as a binary string. */
  of(bytes: Uint8Array, start: number, end: number): string {
    const length = end - start
    if (length === 0 || length > 32) return binaryString(bytes, start, end)
    const place = placeOf(length, bytes[end - 1] as number)
    const known = this.#texts[place] as string
    if (known.length === length) {
      let i = 0
      while (i < length && known.charCodeAt(i) === bytes[start + i]) i++
      if (i === length) return known
    }
    this.#tails[place] = undefined
    return (this.#texts[place] = binaryString(bytes, start, end))
  }

  /** A binary string with a code unit before it. */
  prefixed(unit: number, text: string): string {
    const length = text.length + 1
    if (length > 32) return String.fromCharCode(unit) + text
    const place = placeOf(length, text.charCodeAt(length - 2))
    const known = this.#texts[place] as string
    if (this.#tails[place] === text && known.charCodeAt(0) === unit) return known
    this.#tails[place] = text
    if (known.length === length && known.charCodeAt(0) === unit && known.endsWith(text)) return known
    return (this.#texts[place] = String.fromCharCode(unit) + text)
  }
}

function placeOf(length: number, last: number): number {
  return (length * 37 + last) & 0xff
}

export const interned: Interned = new Interned()

export function fromBinaryString(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i)
  return bytes
}

const hexOfByte: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

export function toHex(bytes: Uint8Array, start: number = 0, end: number = bytes.length): string {
  let text = ''
  for (let at = start; at < end; at++) text += hexOfByte[bytes[at] as number] as string
  return text
}

export function fromHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >> 1)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16)
  return bytes
}
