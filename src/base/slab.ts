/** Copies of many short byte strings that live about as long: side by side, since a buffer for each would weigh more than they do. */

const slabBytes = 65_536

export class Slab {
  #bytes = new Uint8Array(0)
  #at = 0

  /** A copy that stays. What is long gets a buffer of its own. */
  copy(bytes: Uint8Array): Uint8Array {
    const { length } = bytes
    if (length > slabBytes / 4) return bytes.slice()
    if (this.#at + length > this.#bytes.length) {
      this.#bytes = new Uint8Array(slabBytes)
      this.#at = 0
    }
    this.#bytes.set(bytes, this.#at)
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
}
