/** Every system there is, by the name of its file. Loaded when it is asked for: a process pays for the one that it runs. */
import type { System } from './system.ts'

type Loader = () => Promise<{ readonly system: System }>

const own: Readonly<Record<string, Loader>> = {
  skein: () => import('./systems/skein.ts'),
  'raw-ws': () => import('./systems/raw-ws.ts'),
  'raw-store': () => import('./systems/raw-store.ts'),
  'raw-tcp': () => import('./systems/raw-tcp.ts'),
}

/** In `peers/`, with packages of their own that may not be there: not imported by a name that the compiler follows. */
const peers = [
  'y-websocket',
  'automerge-repo',
  'hocuspocus',
  'tinybase',
  'loro',
  'orbitdb',
  'redis',
  'nats',
  'gossipsub',
] as const

const loaders: Readonly<Record<string, Loader>> = {
  ...own,
  ...Object.fromEntries(peers.map((name) => [name, () => import(`./peers/${name}.ts`) as ReturnType<Loader>])),
}

export const systemFiles: readonly string[] = Object.keys(loaders)

export async function loadSystem(file: string): Promise<System> {
  const loader = loaders[file]
  if (loader === undefined) throw new Error(`There is no system ${file}: ${systemFiles.join(', ')}.`)
  return (await loader()).system
}
