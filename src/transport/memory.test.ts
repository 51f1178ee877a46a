import { MemoryNetwork } from './memory.ts'
import { transportSuite } from './transport.suite.ts'

transportSuite('memory', async () => {
  const network = new MemoryNetwork()
  let count = 0
  return {
    open: async ({ at, ...options }) => {
      const address = at ?? `memory:${count++}`
      return network.transport(address === 'none' ? options : { ...options, address })
    },
    nobody: 'memory:nobody',
    freezable: async (address) => ({ address, freeze: () => network.freeze(address) }),
  }
})
