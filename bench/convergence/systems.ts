/** Every system there is, by the name of its file. Loaded when it is asked for: a process pays for the one that it runs. */
import type { System } from './system.ts'

const loaders: Readonly<Record<string, () => Promise<{ readonly system: System }>>> = {
  skein: () => import('./systems/skein.ts'),
  'raw-ws': () => import('./systems/raw-ws.ts'),
  'raw-store': () => import('./systems/raw-store.ts'),
  'raw-tcp': () => import('./systems/raw-tcp.ts'),
}

export const systemFiles: readonly string[] = Object.keys(loaders)

export async function loadSystem(file: string): Promise<System> {
  const loader = loaders[file]
  if (loader === undefined) throw new Error(`There is no system ${file}: ${systemFiles.join(', ')}.`)
  return (await loader()).system
}
