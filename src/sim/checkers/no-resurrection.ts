/**
 * What was removed stays removed: no live sibling is one that a delta in the vector supersedes by name, or clears with its
 * writer having seen it. Looks at deltas and live siblings alone, so it does not lean on how cells are merged.
 */
import type { Space } from '../../replica/space.ts'
import type { Checker, Scene } from './checker.ts'
import { cellsOf, openAuditor } from './audit.ts'

export function noResurrection(scene: Scene): Checker {
  const lookAt = (node: number, space: Space, cells: ReturnType<typeof cellsOf>): void => {
    const live = new Map<string, string>()
    const byKey = new Map<string, { readonly type: number; readonly origin: string; readonly seq: number }[]>()
    for (const [key, type, path, siblings] of cells) {
      for (const { origin, seq } of siblings) {
        live.set(`${key} ${type} ${path} ${origin} ${seq}`, key)
        const dots = byKey.get(key)
        if (dots === undefined) byKey.set(key, [{ type, origin, seq }])
        else dots.push({ type, origin, seq })
      }
    }
    for (const { delta, seen, fault } of scene.chronicle(space).covered(space.logs.values())) {
      if (fault !== undefined) continue
      const by = `${delta.origin.slice(16)}-${delta.seq}`
      for (const { key, type, path, supersedes } of delta.writes) {
        for (const dot of supersedes) {
          if (!live.has(`${key} ${type} ${path} ${dot.origin} ${dot.seq}`)) continue
          const what = `node ${node}, ${space.name}: ${key} holds ${dot.origin.slice(16)}-${dot.seq}`
          scene.violate('no resurrection', `${what}, which ${by} superseded`)
        }
      }
      for (const { key, type, keep } of delta.clears) {
        for (const dot of byKey.get(key) ?? []) {
          if (type !== 0 && dot.type !== type) continue
          if ((seen.get(dot.origin as never) ?? 0) < dot.seq) continue
          if (keep.some((kept) => kept.origin === dot.origin && kept.seq === dot.seq)) continue
          const what = `node ${node}, ${space.name}: ${key} holds ${dot.origin.slice(16)}-${dot.seq}`
          scene.violate('no resurrection', `${what}, which ${by} cleared`)
        }
      }
    }
  }
  return {
    quiet: () => {
      for (const { index, disk } of scene.hosts) {
        if (disk.damaged) continue
        for (const space of openAuditor(disk).spaces) {
          if (!space.catchingUp) lookAt(index, space, cellsOf(disk, space))
        }
      }
    },
  }
}
