/** How it was measured and what a reader must not conclude: the same words on the page and in the docs. */
export const method: readonly string[] = [
  'Every node is a process of its own and talks to the others over real sockets on loopback. A system is used through its public interface by one small adapter; all of them implement the same one.',
  'All processes read one clock (CLOCK_MONOTONIC). A value carries when it was due to be written; lag is from then until another process can read it, so a writer that was kept waiting does not make its system look quick (no coordinated omission).',
  'Lags are counted in buckets of less than 0.8 % relative width; percentiles are over all rounds together, the range beside them is that of the rounds.',
  'Before anything is measured each fleet has written for a while, so that its code is compiled. Fleets take turns within each round, and each round begins with another one: a noisy machine hurts all alike. Where a figure has a goal it is a ratio within one run.',
  'Links that are cut, slowed or narrowed go through a shaper, a process of its own that is the same for every system. A cut holds what is sent, as a network does that loses it, or resets connections. A lost packet is what TCP makes of it: it and all behind it come 200 ms and one way later.',
  'Processor time and peak memory are the kernel’s, for each process with all its threads. Bytes are those of TCP’s payload, counted at the sockets of the nodes; what a hub sends is what its nodes receive.',
  'What is not done within its time is said so, with how far it came. A system that a scenario says nothing of is named with the reason.',
]

export const caveats: readonly string[] = [
  'All processes share the cores of one machine: at many nodes lag is mostly waiting for a processor, so there processor time, bytes and memory say more.',
  'A hub keeps its state in one place and its nodes hold copies or ask: its write is one message to the hub and one to each other node, and while the hub is away nobody writes. A mesh sends to each member itself and needs nobody. The hub’s own process stands apart in the tables.',
  'What “acknowledged” means differs: see durability in the table of systems. A system in memory is not asked for what a disk costs.',
  'Memory is that of a whole Node process, some 45 MB of which is Node, the bench and its libraries.',
]
