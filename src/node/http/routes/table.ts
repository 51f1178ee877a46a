/** Every route. A new one is a row in the file of its group; a new group is a file and a line here. */
import type { Route } from '../route.ts'
import { auditRoutes } from './audit.ts'
import { backupRoutes } from './backup.ts'
import { conflictRoutes } from './conflicts.ts'
import { entryRoutes } from './entries.ts'
import { fleetRoutes } from './fleet.ts'
import { peerRoutes } from './peers.ts'
import { presenceRoutes } from './presence.ts'
import { probeRoutes } from './probes.ts'
import { purgeRoutes } from './purge.ts'
import { spaceRoutes } from './spaces.ts'
import { watchRoutes } from './watch.ts'

export const routes: readonly Route[] = [
  ...spaceRoutes,
  ...entryRoutes,
  ...purgeRoutes,
  ...presenceRoutes,
  ...watchRoutes,
  ...conflictRoutes,
  ...auditRoutes,
  ...fleetRoutes,
  ...peerRoutes,
  ...backupRoutes,
  ...probeRoutes,
]
