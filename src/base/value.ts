/** The values that cells hold: JSON, and byte strings for the document types. */
export type Value =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly Value[]
  | { readonly [name: string]: Value }
