/**
 * What `skein/testing` exports: whole fleets in virtual time, for trying one's own spaces, workloads and rules under faults.
 * docs/SIMULATION.md tells how.
 */
export { World, runStory } from '../sim/world.ts'
export type { Outcome, RunSettings } from '../sim/world.ts'
export { drawOptions, storyOf } from '../sim/options.ts'
export type { FaultClass, SimOptions } from '../sim/options.ts'
export { describe } from '../sim/story.ts'
export type { Action, Story } from '../sim/story.ts'
export { shrink } from '../sim/shrink.ts'
export type { Shrunk } from '../sim/shrink.ts'
export { rules } from '../sim/rules.ts'
export type { Rule, Violation } from '../sim/rules.ts'
export type { Checker, Scene } from '../sim/checkers/checker.ts'
