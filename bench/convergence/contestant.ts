/** A system in one of its variants: what stands in a row of a table. */
import type { System, Variant } from './system.ts'
import { loadSystem, systemFiles } from './systems.ts'

export interface Contestant {
  /** `skein os`, `raw ws`. */
  readonly id: string
  /** Of the adapter. */
  readonly file: string
  readonly system: System
  readonly variant: Variant
}

export interface Absent {
  readonly id: string
  readonly why: string
}

export async function contestants(): Promise<{ readonly present: Contestant[]; readonly absent: Absent[] }> {
  const present: Contestant[] = []
  const absent: Absent[] = []
  for (const file of systemFiles) {
    let system: System
    try {
      system = await loadSystem(file)
    } catch (error) {
      absent.push({ id: file, why: `it does not load: ${error instanceof Error ? error.message : String(error)}` })
      continue
    }
    const why = await system.available?.()
    if (why !== undefined) absent.push({ id: system.name, why })
    else {
      for (const variant of system.variants) {
        present.push({ id: `${system.name} ${variant.name}`.trim(), file, system, variant })
      }
    }
  }
  return { present, absent }
}
