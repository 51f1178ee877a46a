/** What `skein/testing` is in a checkout that was never built. */
export * from '../src/testing/index.ts'
