/** What the bench uses of OrbitDB, which comes without types. */
declare module '@orbitdb/core' {
  interface Entry {
    readonly hash: string
    readonly identity: string
    readonly next: readonly string[]
    readonly payload: { readonly key: string; readonly value: string }
  }

  interface Database {
    readonly address: string
    readonly peers: ReadonlySet<string>
    readonly log: { get(hash: string): Promise<Entry> }
    readonly events: {
      on(event: 'update', listener: (entry: Entry) => void): void
      on(event: 'error', listener: (error: Error) => void): void
    }
    put(key: string, value: string): Promise<string>
    get(key: string): Promise<string | undefined>
  }

  interface OrbitDB {
    readonly identity: { readonly hash: string }
    open(name: string, options: { readonly Database: unknown; readonly AccessController: unknown }): Promise<Database>
    stop(): Promise<void>
  }

  export function createOrbitDB(options: { readonly ipfs: unknown; readonly directory: string }): Promise<OrbitDB>
  export function IPFSAccessController(options: { readonly write: readonly string[] }): unknown
  export function KeyValueIndexed(): unknown
}
