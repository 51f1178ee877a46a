/** One of several processes on one directory: writes what it is told to, and says what was acknowledged. */
import { openOrConnect } from '../../src/index.ts'

const [dir = '', name = ''] = process.argv.slice(2)
const client = await openOrConnect({ dir, agent: name, timeoutMs: 20_000 })
const space = client.space('s')
let written = 0

process.on('message', (asked: { readonly do: 'write' | 'close'; readonly count: number }) => {
  void (async () => {
    if (asked.do === 'close') {
      await client.close()
      process.disconnect()
      return
    }
    const all: Promise<void>[] = []
    for (let i = 0; i < asked.count; i++) {
      const item = `${name}-${written++}`
      const receipt = space.transact((tx) => {
        tx.counter('n').incr()
        tx.log('items').append(item)
      })
      all.push(receipt.durable.then(() => void process.send?.({ acknowledged: item })))
      if (i % 3 === 2) await new Promise((resolve) => setTimeout(resolve, 3))
    }
    await Promise.all(all)
    process.send?.({ done: true })
  })()
})
process.send?.({ ready: client.node })
