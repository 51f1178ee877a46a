/** Small scopes, each about one thing that goes wrong in fleets, and small enough to be seen whole or nearly so. */
import type { Scope } from './world.ts'

export const scopes: readonly Scope[] = [
  {
    title: 'crashes and catch-up',
    programs: { a: ['add s x', 'remove s x'], b: ['add s y'] },
    mishaps: { crash: 2, tell: 1 },
  },
  {
    title: 'pushes in any order',
    programs: { a: ['add s x', 'add s y'], b: ['remove s x', 'add s x'], c: [] },
    mishaps: {},
    pushed: true,
    stored: true,
  },
  {
    title: 'below the log',
    programs: { a: ['add s x', 'add t y', 'remove s x'], b: ['add u z'] },
    mishaps: { part: 1, prune: 1, target: 1 },
    stored: true,
  },
  {
    title: 'add and remove across a cut',
    programs: { a: ['add s x', 'remove s x', 'add s x', 'remove s x'], b: ['add t y'] },
    mishaps: { tell: 2, prune: 1, target: 1, restore: 1 },
    stored: true,
  },
  {
    title: 'deltas beside a target',
    programs: { a: ['remove t y', 'add s x'], b: [], c: ['add t y'] },
    mishaps: { prune: 1, target: 1, crash: 1 },
    stored: true,
    alone: true,
  },
  {
    title: 'pushes beside a target',
    programs: { a: ['add t y', 'remove t y', 'add s x'], b: ['add s z'] },
    mishaps: { prune: 1, target: 1 },
    pushed: true,
    stored: true,
    alone: true,
  },
  {
    title: 'two halves apart',
    programs: { a: ['add s x', 'remove s x'], b: ['add s x', 'add t y'] },
    mishaps: { part: 1, prune: 2, target: 2 },
    stored: true,
  },
  {
    title: 'bit rot',
    programs: { a: ['set r 1', 'set r 2'], b: ['set r 3', 'set q 4'] },
    mishaps: { rot: 1, part: 1, prune: 1, target: 1 },
    stored: true,
  },
  {
    title: 'counters over restore and clone',
    programs: { a: ['incr c 1', 'incr c 2'], A: ['incr c 4'], b: ['incr c 8'] },
    mishaps: { restore: 1, 'clone disk': 1 },
  },
  {
    title: 'a budget over crashes',
    programs: { a: ['grant b 2', 'spend b 2', 'spend b 2'], b: ['spend b 1'] },
    mishaps: { crash: 1, part: 1 },
  },
  {
    title: 'a budget taken over when all have acknowledged',
    programs: { a: ['grant b 2', 'spend b 1', 'spend b 2'], b: [] },
    mishaps: { crash: 1, tell: 3 },
  },
  {
    title: 'fences over crashes',
    programs: { a: ['acquire k', 'acquire k'], b: ['acquire k'] },
    mishaps: { crash: 1 },
  },
  {
    title: 'a memory cloned',
    programs: { a: ['add s x', 'add s y'], A: ['add s z'], b: ['add s w'] },
    mishaps: { 'clone memory': 1 },
    stored: true,
  },
  {
    title: 'a memory cloned, what it wrote superseded',
    programs: { a: ['set r 1', 'set r 2'], A: ['set r 3', 'set r 5'], b: ['set r 4'] },
    mishaps: { 'clone memory': 1 },
    stored: true,
  },
  {
    title: 'a memory cloned, beside a cut',
    programs: { a: ['add s x', 'add s y'], A: ['add s z'], b: [] },
    mishaps: { 'clone memory': 1, tell: 2, prune: 1, target: 1 },
    stored: true,
  },
  {
    title: 'a memory cloned, beside one who took cells',
    programs: { a: ['add s x', 'add s y', 'add s v'], A: ['add s z'], b: [] },
    mishaps: { 'clone memory': 1, target: 2 },
    stored: true,
    newcomers: true,
  },
]
