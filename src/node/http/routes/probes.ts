/** Probes and metrics: for whoever looks after the node. */
import { SkeinError } from '../../../base/errors.ts'
import { numberOf } from '../route.ts'
import type { Outcome, Route } from '../route.ts'
import { digits, object, text, truth, whole } from '../schemas.ts'

const readiness = object({
  ready: truth,
  state: text,
  gaps: whole,
  lagMs: { type: 'number' },
  queueBytes: whole,
  passed: { type: 'array', items: text, description: 'What is over its limit.' },
})

export const probeRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/healthz',
    says: 'Is the process alive and its node open?',
    open: true,
    answers: { 200: { says: 'It is.', schema: object({ state: text }) } },
    codes: ['closed'],
    handle({ service }) {
      const { state } = service.node.status()
      if (state === 'closed') throw new SkeinError('closed', 'the node is closed')
      return { body: { state } }
    },
  },
  {
    method: 'GET',
    path: '/readyz',
    says: 'Is it fit for work? The limits are those of the caller; without one only the state of the node counts.',
    open: true,
    query: {
      gaps: digits(12, 'Deltas that are known to exist and are not here yet.'),
      lag: digits(12, 'Age in milliseconds of the oldest of them.'),
      queue: digits(15, 'Bytes that wait for the disk and for peers.'),
    },
    answers: {
      200: { says: 'Every figure is within its limit.', schema: readiness },
      503: { says: 'Some are not, or the node takes no writes.', schema: readiness },
    },
    codes: [],
    handle({ service: { node, fleet }, query }): Outcome {
      const { state, waitingBytes } = node.status()
      const { gaps, lagMs, queueBytes } = fleet.health()
      const figures = { gaps, lag: lagMs, queue: queueBytes + waitingBytes }
      const passed = Object.entries(figures)
        .filter(([name, figure]) => figure > (numberOf(query[name]) ?? Infinity))
        .map(([name]) => name)
      if (state !== 'open') passed.push('state')
      const body = { ready: passed.length === 0, state, gaps, lagMs, queueBytes: figures.queue, passed }
      return { status: body.ready ? 200 : 503, body }
    },
  },
  {
    method: 'GET',
    path: '/metrics',
    says: 'Figures in the text format of Prometheus.',
    answers: { 200: { says: 'The figures.', media: 'text/plain' } },
    codes: [],
    async handle({ service, caller }) {
      service.mayLook(caller)
      return { body: await service.metrics(), headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' } }
    },
  },
]
