/** SHA-256 (FIPS 180-4), which names Automerge's changes. Synchronous, and the same wherever it runs. */

const K = new Uint32Array(64)
const initial = new Uint32Array(8)

/** The fractional parts of roots of the first primes, which is what the standard's constants are. */
function constants(): void {
  const fraction = (x: number): number => (x - Math.floor(x)) * 2 ** 32
  let found = 0
  for (let n = 2; found < 64; n++) {
    let prime = true
    for (let i = 2; i * i <= n; i++) if (n % i === 0) prime = false
    if (!prime) continue
    if (found < 8) initial[found] = fraction(Math.sqrt(n))
    K[found++] = fraction(Math.cbrt(n))
  }
}
constants()

const words = new Uint32Array(64)

function block(state: Uint32Array, bytes: Uint8Array, at: number): void {
  for (let i = 0; i < 16; i++, at += 4) {
    words[i] =
      ((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)
  }
  for (let i = 16; i < 64; i++) {
    const x = words[i - 15] as number
    const y = words[i - 2] as number
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10)
    words[i] = (words[i - 16] as number) + s0 + (words[i - 7] as number) + s1
  }
  let a = state[0] as number
  let b = state[1] as number
  let c = state[2] as number
  let d = state[3] as number
  let e = state[4] as number
  let f = state[5] as number
  let g = state[6] as number
  let h = state[7] as number
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + (K[i] as number) + (words[i] as number)) | 0
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0
    h = g
    g = f
    f = e
    e = (d + t1) | 0
    d = c
    c = b
    b = a
    a = (t1 + t2) | 0
  }
  // The array takes each sum modulo 2^32.
  state[0] = (state[0] as number) + a
  state[1] = (state[1] as number) + b
  state[2] = (state[2] as number) + c
  state[3] = (state[3] as number) + d
  state[4] = (state[4] as number) + e
  state[5] = (state[5] as number) + f
  state[6] = (state[6] as number) + g
  state[7] = (state[7] as number) + h
}

export function sha256(bytes: Uint8Array): Uint8Array {
  const state = initial.slice()
  let at = 0
  for (; at + 64 <= bytes.length; at += 64) block(state, bytes, at)
  const rest = bytes.length - at
  const tail = new Uint8Array(rest < 56 ? 64 : 128)
  tail.set(bytes.subarray(at))
  tail[rest] = 0x80
  const view = new DataView(tail.buffer)
  view.setUint32(tail.length - 8, Math.floor(bytes.length / 2 ** 29))
  view.setUint32(tail.length - 4, bytes.length * 8)
  for (let i = 0; i < tail.length; i += 64) block(state, tail, i)
  const digest = new Uint8Array(32)
  const out = new DataView(digest.buffer)
  for (let i = 0; i < 8; i++) out.setUint32(4 * i, state[i] as number)
  return digest
}
