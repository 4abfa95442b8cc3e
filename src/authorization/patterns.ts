/** Names with `*` for any characters. */
const PART = '[A-Za-z0-9._*-]{1,64}';
const PATTERN = new RegExp(`^(?:(?:~|${PART})/)?${PART}$`);

/** `NAME`, or `OWNER/NAME` where the owner may be `~`. */
export const isPattern = (text: string): boolean => PATTERN.test(text);

/** Walks both texts once and goes back to the last star only, so that no pattern makes it slow. */
export function matches(pattern: string, text: string): boolean {
  let [p, t, star, from] = [0, 0, -1, 0];
  while (t < text.length) {
    if (pattern[p] === '*') [star, from, p] = [p, t, p + 1];
    else if (pattern[p] === text[t]) [p, t] = [p + 1, t + 1];
    else if (star >= 0) [p, from, t] = [star + 1, from + 1, from + 1];
    else return false;
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}

export const matchesOne = (patterns: readonly string[], text: string): boolean => patterns.some((p) => matches(p, text));
