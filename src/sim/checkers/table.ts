/** The table of checkers: a new one is its file and a line here. */
import { acknowledged } from './acknowledged.ts'
import { alarms } from './alarms.ts'
import { audit } from './audit.ts'
import { bounds } from './bounds.ts'
import { budgetsAndFences } from './budgets.ts'
import type { Checker, Scene } from './checker.ts'
import { disks } from './disks.ts'
import { conflictsOnRecord } from './conflicts.ts'
import { claimsOfDisk } from './claims-of-disk.ts'
import { equalVectors } from './equal-vectors.ts'
import { expiry } from './expiry.ts'
import { noResurrection } from './no-resurrection.ts'
import { presence } from './presence.ts'
import { Shadows } from './shadow.ts'
import { toldOnce } from './told.ts'

export function makeCheckers(scene: Scene): { readonly shadows: Shadows; readonly all: readonly Checker[] } {
  const shadows = new Shadows(scene)
  const all = [
    shadows,
    equalVectors(scene, shadows),
    audit(scene),
    noResurrection(scene),
    acknowledged(scene),
    budgetsAndFences(scene),
    bounds(scene),
    disks(scene),
    alarms(scene),
    expiry(scene),
    claimsOfDisk(scene),
    conflictsOnRecord(scene),
    toldOnce(scene),
    presence(scene),
  ]
  return { shadows, all }
}
