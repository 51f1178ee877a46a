#!/usr/bin/env node
/**
 * Asks the node beside it whether it is well: `probe.js /healthz`, `probe.js '/readyz?gaps=1000'`. Exits with 0 if it is. For
 * containers, where HTTP is on loopback and nothing else can ask; it loads nothing, since it runs every few seconds.
 */
// Not imported: an import of node:http evaluates all that it exports, a WebSocket client of 14 MB and 30 ms among it.
const { get } = process.getBuiltinModule('node:http')
const path = process.argv[2] ?? '/readyz'
const node = process.env.SKEIN_NODE ?? 'http://127.0.0.1:7401'

get(new URL(path, node), { timeout: 5000 }, (answer) => {
  answer.resume()
  process.exitCode = answer.statusCode === 200 ? 0 : 1
})
  .on('timeout', () => process.exit(1))
  .on('error', () => process.exit(1))
