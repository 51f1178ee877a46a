/** The whole node as one stream, for a backup while it runs. */
import { Readable } from 'node:stream'
import { backupBytes } from '../../backup-bytes.ts'
import type { Route } from '../route.ts'

export const backupRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/backup',
    says: 'Everything that is on this node, history and tokens of watches included, as `skein backup` keeps it. It needs the right to administer the node.',
    answers: {
      200: { says: 'The backup. It is whole when its own checksum says so.', media: 'application/octet-stream' },
    },
    codes: [],
    async handle({ service, caller }) {
      const rows = await service.rows(caller)
      return {
        body: Readable.from(backupBytes(rows), { objectMode: false }),
        headers: { 'content-type': 'application/octet-stream' },
      }
    },
  },
]
