/** All links of one fleet, shaped, in a process of its own: the same for every system, and nobody's processor time but its own. */
import { Proxies, clear } from '../../test/cluster/proxy.ts'
import { processOf } from '../../test/cluster/dialler.ts'
import { prng } from '../../src/base/prng.ts'
import type { ShaperAnswer, ShaperOrder } from './shaper.ts'

/** By party: its processes. */
let pids: readonly (readonly number[])[] = []
let random = prng(1)

const proxies = new Proxies(
  (port, localPort) => {
    const pid = processOf(port, localPort, pids.flat())
    const party = pids.findIndex((of) => pid !== undefined && of.includes(pid))
    return party < 0 ? undefined : party
  },
  () => random.uint32() / 2 ** 32,
)

async function obey(order: ShaperOrder): Promise<ShaperAnswer> {
  switch (order.kind) {
    case 'open': {
      random = prng(order.seed)
      const ports: number[] = []
      for (const [party, port] of order.ports.entries()) {
        await proxies.open(party, port)
        proxies.up(party, true)
        ports.push(Number(new URL(proxies.place(party).advertise).port))
      }
      return { ports }
    }
    case 'pids':
      pids = order.pids
      break
    case 'rules':
      for (const { from, to, rule } of order.rules) proxies.set(from, to, { ...clear, ...rule })
      break
    case 'heal':
      proxies.heal()
  }
  return { ports: [] }
}

process.on('message', (order: ShaperOrder) => {
  void obey(order).then((answer) => process.send?.(answer))
})
process.on('disconnect', () => process.exit(0))
