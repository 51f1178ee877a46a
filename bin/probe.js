#!/usr/bin/env node
/**
 * Asks the node beside it whether it is well: `probe.js /healthz`, `probe.js '/readyz?gaps=1000'`. Exits with 0 if it is. For
 * containers, where HTTP is on loopback and nothing else can ask; it loads nothing, since it runs every few seconds.
 */
import { get } from 'node:http'

const path = process.argv[2] ?? '/readyz'
const node = process.env.SKEIN_NODE ?? 'http://127.0.0.1:7401'

get(new URL(path, node), { timeout: 5000 }, (answer) => {
  answer.resume()
  process.exitCode = answer.statusCode === 200 ? 0 : 1
})
  .on('timeout', () => process.exit(1))
  .on('error', () => process.exit(1))
