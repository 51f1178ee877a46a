/** What `skein` means inside this folder: the sources, so that the examples run without a build. */
export * from '../src/index.ts'
