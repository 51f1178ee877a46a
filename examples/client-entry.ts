/** What `skein/client` means inside this folder. */
export * from '../src/client/index.ts'
