/**
 * Completion for shells. The scripts are small and know nothing: at each press of the key they ask `skein completion words`
 * with what was typed so far, so that they never go stale.
 */
import { UsageError, optionsOf } from '../command.ts'
import type { Command } from '../command.ts'

const shells = ['bash', 'zsh', 'fish'] as const

export const completionCommand: Command = {
  name: 'completion',
  says: 'print a script that completes commands and options in a shell',
  args: [
    { name: 'bash|zsh|fish', words: shells },
    { name: 'WORD', optional: true, many: true },
  ],
  examples: ['source <(skein completion bash)', 'skein completion fish > ~/.config/fish/completions/skein.fish'],
  local: true,
  async run({ args, table }) {
    const [shell = '', ...words] = args
    if (shell === 'words') {
      const found = wordsFor(words, table)
      return { data: found, text: found.join('\n') }
    }
    const script = Object.hasOwn(scripts, shell) ? scripts[shell] : undefined
    if (script === undefined) throw new UsageError(`there are scripts for ${shells.join(', ')}`)
    return { data: { shell, script }, text: script.trimEnd() }
  },
}

/** What may follow: the last word is the one being typed, and may be empty. */
export function wordsFor(words: readonly string[], table: readonly Command[]): string[] {
  const typed = words.at(-1) ?? ''
  const before = words.slice(0, -1)
  const plain = before.filter((word) => !word.startsWith('-'))
  const candidates = new Set<string>()
  let command: Command | undefined
  for (const one of table) {
    const name = one.name.split(' ')
    if (name.every((part, at) => plain[at] === part) && name.length > (command?.name.split(' ').length ?? 0))
      command = one
    if (plain.length < name.length && plain.every((part, at) => part === name[at]))
      candidates.add(name[plain.length] ?? '')
  }
  if (command !== undefined) {
    const options = optionsOf(command)
    const last = before.at(-1) ?? ''
    const waiting = last.startsWith('--') && Object.hasOwn(options, last.slice(2)) ? options[last.slice(2)] : undefined
    // Behind an option that takes a value there is that value and nothing else.
    if (waiting?.takes !== undefined) return matching(waiting.words ?? [], typed)
    const position = plain.length - command.name.split(' ').length
    for (const word of command.args?.[position]?.words ?? []) candidates.add(word)
    if (typed.startsWith('-')) for (const option of Object.keys(options)) candidates.add(`--${option}`)
  }
  return matching([...candidates], typed)
}

function matching(candidates: readonly string[], typed: string): string[] {
  return candidates.filter((word) => word.startsWith(typed)).sort()
}

const scripts: Readonly<Record<string, string>> = {
  bash: `_skein() {
  local words
  words=$(skein completion words -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _skein skein
`,
  zsh: `#compdef skein
_skein() {
  local -a found
  found=(\${(f)"$(skein completion words -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  (( \${#found} )) && compadd -- $found || _files
}
compdef _skein skein
`,
  fish: `function __skein_words
  skein completion words -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null
end
complete -c skein -a '(__skein_words)'
`,
}
