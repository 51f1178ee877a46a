/**
 * What a watcher would know of each space of each node, built from nothing but what it is told: the deltas, one by one,
 * from where the node stood when it was opened. Checks that it is told everything, in an order in which causes come
 * before effects, and exactly once; others read the vector's hash from here.
 */
import type { OriginId, Vector } from '../../crdt/dot.ts'
import type { OriginLog } from '../../replica/log.ts'
import type { Space } from '../../replica/space.ts'
import { VectorHash, hashOf } from '../chronicle.ts'
import type { Host, Life } from '../host.ts'
import type { Checker, Scene } from './checker.ts'

interface Shadow {
  readonly vector: Vector
  readonly hash: VectorHash
  /** The vector moved by other means than deltas, and nobody was told so far. */
  isOwed: boolean
}

export class Shadows implements Checker {
  readonly #scene: Scene
  readonly #byLife = new Map<number, { readonly life: Life; readonly spaces: Map<Space, Shadow> }>()

  constructor(scene: Scene) {
    this.#scene = scene
  }

  opened(host: Host, life: Life): void {
    this.#byLife.set(host.index, { life, spaces: new Map() })
    for (const space of life.machine.replica.spaces) {
      this.#shadow(host, life, space)
      if (space.catchingUp) this.#scene.count('adoption: resumed from the disk')
    }
  }

  applied: NonNullable<Checker['applied']> = (host, life, { space, delta, own, fault }, body) => {
    const scene = this.#scene
    const shadow = this.#shadow(host, life, space, delta.origin, delta.seq)
    const { origin, seq } = delta
    const told = `node ${host.index}, ${space.name}: ${origin.slice(16)}-${seq}`
    this.#follow(shadow, space, origin, seq)
    const before = shadow.vector.get(origin) ?? 0
    if (seq <= before) scene.violate('watchers', `${told} was told a second time`)
    else if (seq > before + 1) scene.violate('causal', `${told} came after ${before}`)
    for (const dot of delta.context) {
      if ((shadow.vector.get(dot.origin) ?? 0) >= dot.seq || fault !== undefined) continue
      if (space.logs.get(dot.origin)?.fork !== undefined) continue
      scene.violate('causal', `${told} came before ${dot.origin.slice(16)}-${dot.seq}, which its writer had seen`)
    }
    const chronicle = scene.chronicle(space)
    const { chain } = space.logs.get(origin) as OriginLog
    const known = chronicle.get(origin, seq, chain)
    const hash = hashOf(body)
    if (known !== undefined) {
      if (known.hash !== hash) scene.violate('one dot', `${told} has other bytes than where it was written`)
      // Two copies of one memory may come to the very same bytes, as where both delete what ran out.
      if (own && !scene.cloned) scene.violate('one dot', `${told} was written a second time`)
    } else if (!own) scene.violate('one dot', `${told} was applied, and nobody wrote it`)
    else if (chronicle.write(delta, body, fault, chain) === undefined) {
      scene.violate('one dot', `${told} was written out of order`)
    }
    if (own && !scene.cloned && chronicle.isForked(origin)) {
      scene.violate('one dot', `${told} was written a second time, with other bytes`)
    }
    shadow.hash.move(origin, before, seq)
    shadow.vector.set(origin, seq)
  }

  stepped(host: Host, life: Life): void {
    for (const space of life.machine.replica.spaces) {
      const shadow = this.#shadow(host, life, space)
      this.#follow(shadow, space)
      if (shadow.isOwed && space.catchingUp) this.#scene.count('adoption: a sealed snapshot is folded in')
      // A snapshot that is still being folded in is told of when it is done; until then the space says that it catches up.
      if (!shadow.isOwed || space.catchingUp) continue
      const what = `node ${host.index}, ${space.name}: its vector moved, and no watcher was told`
      this.#scene.violate('watchers', what)
    }
  }

  /** The space went forward by other means than deltas, and says so. */
  gap(host: Host, life: Life, space: Space): void {
    const shadow = this.#shadow(host, life, space)
    this.#follow(shadow, space)
    shadow.isOwed = false
  }

  /** Takes up what moved without a delta, but for the one that is being told. */
  #follow(shadow: Shadow, space: Space, told?: OriginId, toldSeq: number = 0): void {
    const { vector, hash } = shadow
    for (const [origin, from] of vector) {
      // It left the losing side of a fork, and this origin had not come to the other.
      if (space.vector.has(origin) || origin === told) continue
      hash.move(origin, from, 0)
      vector.delete(origin)
      shadow.isOwed = true
    }
    for (const [origin, seq] of space.vector) {
      const to = origin === told ? toldSeq - 1 : seq
      const from = vector.get(origin) ?? 0
      if (to === from || (to < from && origin === told)) continue
      hash.move(origin, from, to)
      if (to > 0) vector.set(origin, to)
      shadow.isOwed = true
    }
  }

  /** Of the vector that a watcher of the space knows. */
  hash(host: Host, life: Life, space: Space): string {
    return this.#shadow(host, life, space).hash.value
  }

  #shadow(host: Host, life: Life, space: Space, moved?: OriginId, to?: number): Shadow {
    let entry = this.#byLife.get(host.index)
    if (entry?.life !== life) this.#byLife.set(host.index, (entry = { life, spaces: new Map() }))
    let shadow = entry.spaces.get(space)
    if (shadow !== undefined) return shadow
    // A space that was made in this life: what it holds beyond the delta that is being told, it was opened with.
    const vector: Vector = new Map(space.vector)
    if (moved !== undefined && to !== undefined) {
      if (to > 1) vector.set(moved, to - 1)
      else vector.delete(moved)
    }
    const hash = new VectorHash()
    for (const [origin, seq] of vector) hash.move(origin, 0, seq)
    entry.spaces.set(space, (shadow = { vector, hash, isOwed: false }))
    return shadow
  }
}
