/** What expires takes nothing else along: a deletion for its time supersedes only siblings that were given a time to live. */
import type { Checker, Scene } from './checker.ts'

export function expiry(scene: Scene): Checker {
  return {
    applied: (host, _life, { space, delta, own }) => {
      if (!own || delta.reason !== 'expired') return
      const chronicle = scene.chronicle(space)
      for (const { key, type, path, supersedes } of delta.writes) {
        for (const dot of supersedes) {
          const log = space.logs.get(dot.origin)
          const writes = (log && chronicle.inHistory(log, dot.seq))?.delta.writes ?? []
          const written = writes.find((one) => one.key === key && one.type === type && one.path === path)
          if (written === undefined || written.expires !== 0) continue
          const what = `node ${host.index}, ${space.name}: the expiry of ${key} took ${dot.origin.slice(16)}-${dot.seq} along`
          scene.violate('expiry', `${what}, which does not expire`)
        }
      }
    },
  }
}
