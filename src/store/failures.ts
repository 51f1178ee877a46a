/** What the operating system and LevelDB say when they fail, as errors of ours. */
import { SkeinError } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'

/** LevelDB passes the system's sentence on without its number, so both are looked for. */
const signs: readonly (readonly [RegExp, ErrorCode])[] = [
  [/LEVEL_LOCKED/, 'store_locked'],
  [/ENOSPC|No space left|EDQUOT|quota exceeded|EFBIG|File too large/i, 'store_full'],
  [
    /EACCES|Permission denied|EPERM|Operation not permitted|EROFS|Read-only file system|ENOTDIR|Not a directory/i,
    'store_permission',
  ],
  [/LEVEL_CORRUPTION|Corruption:|corrupted/, 'store_damaged'],
]

const sentences: Partial<Record<ErrorCode, (dir: string) => string>> = {
  store_locked: (dir) => `Another process, or another store of this one, has the data directory ${dir} open.`,
  store_full: (dir) => `The disk under ${dir} is full, or a quota on it is.`,
  store_permission: (dir) => `The data directory ${dir} cannot be made, read or written by this user.`,
  store_damaged: (dir) => `LevelDB finds its files in ${dir} damaged.`,
}

/** The error of ours for whatever was thrown; one that is ours already stays. */
export function mapFailure(error: unknown, dir: string): SkeinError {
  if (error instanceof SkeinError) return error
  const text = describe(error)
  const code = signs.find(([sign]) => sign.test(text))?.[1] ?? 'store_failed'
  const sentence = sentences[code]?.(dir) ?? `The storage engine failed in ${dir}: ${lastMessage(error)}`
  return new SkeinError(code, sentence, { dir }, error)
}

/** Codes and messages along the chain of causes. */
function describe(error: unknown): string {
  let text = ''
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    text += `${(at as NodeJS.ErrnoException).code ?? ''} ${at.message}\n`
  }
  return text
}

/** The innermost cause, in its own words. */
export function lastMessage(error: unknown): string {
  let message = String(error)
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) message = at.message
  return message
}
