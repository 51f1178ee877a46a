/** Drives the folding of a sealed snapshot into its space: a bounded step a batch, over the keys that a scan brings. */
import type { Adoption } from '../replica/adoption.ts'
import type { Space } from '../replica/space.ts'
import type { Moments } from './moments.ts'
import type { Shared } from './output.ts'
import type { Scans } from './scan.ts'

export class Fold {
  readonly space: Space
  done: boolean = false
  readonly #shared: Shared
  readonly #scans: Scans
  readonly #adoption: Adoption
  #scan = 0
  #asked = false

  constructor(shared: Shared, scans: Scans, space: Space, adoption: Adoption) {
    this.#shared = shared
    this.#scans = scans
    this.space = space
    this.#adoption = adoption
  }

  start(moments: Moments): void {
    moments.next(this.space, () => {
      this.#scan = this.#scans.start(this.space, {
        entry: ({ key }) => this.#adoption.feed([key], false),
        page: (done) => {
          this.#asked = false
          this.#adoption.feed([], done)
          this.step()
        },
        failed: (what) => {
          const event = { kind: 'integrity', space: this.space, peer: undefined, what, keys: [] } as const
          this.#shared.outputs.push({ kind: 'event', event })
        },
      })
      this.step()
    })
  }

  /** Folds some entries in, once what was folded before is in the store: memory follows the step, not the snapshot. */
  step(): void {
    const { replica, bounds } = this.#shared
    const { space } = this
    if (space.deleted) {
      this.#scans.end(this.#scan)
      this.done = true
    }
    if (this.done || this.#scan === 0 || !replica.isStored(space)) return
    if (this.#adoption.wantsKeys) {
      if (!this.#asked) this.#scans.more(this.#scan)
      this.#asked = true
      return
    }
    const isThrough = this.#adoption.fold(bounds.foldAtOnce)
    replica.read(space)
    if (!isThrough) {
      if (replica.isStored(space)) this.step()
      return
    }
    this.done = true
    if (this.#adoption.isShort) {
      const what = 'the snapshot that was taken over did not come to its root'
      this.#shared.outputs.push({ kind: 'event', event: { kind: 'integrity', space, peer: undefined, what, keys: [] } })
    }
    space.finishAdoption()
  }
}
