/**
 * Budgets and fences, which others act on. A budget is not overspent on any replica at any time; a fence that somebody was
 * given durably is not above what the claim shows when all is quiet, and no replica ever shows a lower one than it did.
 * A directory that went back in time may spend twice and knows it not: then nothing is promised here.
 */
import { pathValue } from '../../crdt/cell.ts'
import type { CellWrite } from '../../crdt/delta.ts'
import { budget } from '../../crdt/types/budget.ts'
import { claim } from '../../crdt/types/claim.ts'
import type { Space } from '../../replica/space.ts'
import type { Host, Life } from '../host.ts'
import type { Checker, Scene } from './checker.ts'

export function budgetsAndFences(scene: Scene): Checker {
  const fences = new Map<Life, Map<string, number>>()
  const look = (host: Host, space: Space, key: string): void => {
    const { overspent, available } = budget.read(space.entry(key).cells(budget.id)).value as BudgetValue
    if (overspent <= 0 && available >= 0) return
    const what = `node ${host.index}, ${space.name}: ${key} is overspent by ${overspent}, ${available} is available`
    scene.violate('budget', what)
  }
  const fenceOf = (space: Space, key: string): number =>
    (claim.read(space.entry(key).cells(claim.id)).value as { readonly fence: number }).fence
  return {
    applied: (host, life, { space, delta, own }) => {
      if (own && delta.reason === 'budget rights') scene.count('budget: rights were given on request')
      if (own && delta.writes.some(isTakeover)) scene.count('budget: rights of an earlier life were taken over')
      if (host.disk.damaged) return
      const touched = new Set<string>()
      for (const { key, type } of delta.writes) {
        if (touched.has(key)) continue
        if (type === budget.id && !scene.rolledBack) look(host, space, key)
        if (type !== claim.id) continue
        let known = fences.get(life)
        if (known === undefined) fences.set(life, (known = new Map<string, number>()))
        const name = `${space.name}#${space.generation} ${key}`
        const fence = fenceOf(space, key)
        const before = known.get(name) ?? 0
        if (fence < before) {
          scene.violate('fence', `node ${host.index}, ${name}: its fence was ${before} and is ${fence}`)
        }
        known.set(name, fence)
        touched.add(key)
      }
    },
    quiet: () => {
      for (const write of scene.ledger.all) {
        if (!scene.ledger.isOwed(write)) continue
        const { space, generation, fences: given, node } = write
        // Which disks had it cannot be told by its dot alone, once that meant two things.
        if (scene.cloned && scene.lostAt > write.at) continue
        for (const { key, fence } of given) {
          for (const host of scene.holders(space)) {
            if (host.disk.damaged) continue
            const held = host.replica?.find(space)
            if (held?.generation !== generation) continue
            const shown = fenceOf(held, key)
            if (shown >= fence) continue
            const what = `${space}: node ${node} was given fence ${fence} of ${key}`
            scene.violate('fence', `${what}, and node ${host.index} shows ${shown}`)
          }
        }
      }
    },
  }
}

function isTakeover({ type, path }: CellWrite): boolean {
  if (type !== budget.id) return false
  const value = pathValue(path)
  return Array.isArray(value) && value[0] === 'x'
}

interface BudgetValue {
  readonly overspent: number
  readonly available: number
}
