/** Rot, in place. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs'

export function flipBit(path: string, at: number, bit: number): void {
  const byte = new Uint8Array(1)
  const file = openSync(path, 'r+')
  readSync(file, byte, 0, 1, at)
  byte[0] = (byte[0] as number) ^ (1 << bit)
  writeSync(file, byte, 0, 1, at)
  closeSync(file)
}
