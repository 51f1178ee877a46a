/** A small edit that a tired engineer could make, and who must notice. */
interface Edit {
  readonly name: string
  readonly file: string
  /** Stands exactly once in the file. */
  readonly find: string
  readonly replace: string
}

/** Seeds of the simulator among which one must break a rule. */
export interface Seeds {
  readonly seeds: number
  /** 1 where nothing else is said. */
  readonly from?: number
  /** Rows rot too, in some of them. */
  readonly damage?: boolean
}

export type Fault = Edit & ({ readonly tests: readonly string[] } | { readonly sim: Seeds })
