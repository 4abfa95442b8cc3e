/** The words of a command line of which no shell is asked: plain characters, '…' and a backslash before any character. */

const PART = /([A-Za-z0-9_/.,:=@%+-]+)|'([^'\x00-\x1f\x7f]*)'|\\([^\x00-\x1f\x7f])/y;

/** null when the line holds anything that a shell could read in another way. */
export function wordsOf(line: string): readonly string[] | null {
  const words: string[] = [];
  let word: string | null = null;
  for (let at = 0; at < line.length;) {
    if (line[at] === ' ') {
      if (word !== null) words.push(word);
      word = null;
      at += 1;
      continue;
    }
    PART.lastIndex = at;
    const part = PART.exec(line);
    if (part === null) return null;
    word = (word ?? '') + (part[1] ?? part[2] ?? part[3] ?? '');
    at = PART.lastIndex;
  }
  return word === null ? words : [...words, word];
}
