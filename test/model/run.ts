/**
 * Explores the scopes as deep as it is told, and reports what it saw.
 *
 *   npm run model                         every scope, up to 20,000 worlds each
 *   npm run model -- 500000 cloned        up to that many, in the scopes whose title holds the word
 */
import { explore } from './explore.ts'
import { scopes } from './scopes.ts'

function main([states = '20000', word = '']: readonly string[]): number {
  const chosen = scopes.filter(({ title }) => title.includes(word))
  if (chosen.length === 0 || !(Number(states) > 0)) {
    console.error(`npm run model [-- WORLDS [WORD]]; there are:\n${scopes.map(({ title }) => `  ${title}`).join('\n')}`)
    return 2
  }
  let broken = 0
  for (const scope of chosen) {
    const startedMs = performance.now()
    const found = explore(scope, { depth: Infinity, states: Number(states), settleEvery: 1 })
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1)
    const extent = found.whole ? 'all of it' : `to ${found.depth} steps`
    console.log(`${scope.title}: ${found.states} worlds, ${extent}, ${seconds} s`)
    if (found.violation === undefined) continue
    broken++
    console.log([found.violation, ...found.transcript].map((line) => `  ${line}`).join('\n'))
  }
  return broken === 0 ? 0 : 1
}

process.exitCode = main(process.argv.slice(2))
