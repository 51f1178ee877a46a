/**
 * Loaded into a node before its own code (`--import`): changes the text of one source file as it is read, and nothing on
 * disk. So a fleet meets nodes of a later version, and nodes with a planted fault, without a second copy of the code.
 * TEST_ALTERATION names the alteration.
 */
import { registerHooks } from 'node:module'
import { alterations } from './alterations.ts'

const name = process.env['TEST_ALTERATION'] ?? ''
delete process.env['TEST_ALTERATION']
const edits = alterations[name]?.edits
if (edits === undefined) throw new Error(`no alteration is called ${name}`)

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context)
    const mine = edits.filter(({ file }) => url.endsWith(`/${file}`))
    if (mine.length === 0 || loaded.source === undefined || loaded.source === null) return loaded
    let text = typeof loaded.source === 'string' ? loaded.source : new TextDecoder().decode(loaded.source)
    for (const edit of mine) {
      if (text.split(edit.from).length !== 2) {
        throw new Error(`the alteration ${name} no longer fits ${edit.file}: ${edit.from}`)
      }
      text = text.replace(edit.from, () => edit.to)
    }
    return { ...loaded, source: text }
  },
})
