/** The known word that somebody most likely meant: what stands behind "did you mean". */

/** Undefined where nothing is near enough to be worth naming: within a third of the letters, and at least one. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  let found: string | undefined
  let least = Math.max(1, Math.floor(word.length / 3)) + 1
  for (const one of known) {
    const distance = one.startsWith(word) && word.length > 1 ? 1 : editDistance(word.toLowerCase(), one.toLowerCase())
    if (distance < least) [found, least] = [one, distance]
  }
  return found
}

/** ` Did you mean X?`, or nothing. */
export function didYouMean(word: string, known: Iterable<string>, mark: string = ''): string {
  const found = nearest(word, known)
  return found === undefined ? '' : ` Did you mean ${mark}${found}?`
}

/** Insertions, deletions, replacements and swaps of neighbours (Damerau 1964, in its restricted form). */
function editDistance(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let cost = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, (before[j - 2] ?? 0) + 1)
      next.push(cost)
    }
    before = row
    row = next
  }
  return row[b.length] ?? 0
}
