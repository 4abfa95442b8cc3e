/**
 * INI text as the original's configuration is written (Python's ConfigParser): `[section]`, `key: value` or `key = value`,
 * `#` and `;` begin a comment line, ` ;` a comment after a value, an indented line goes on with the value before it. Keys
 * are lower-cased; said twice, the last one counts.
 */
export interface Ini {
  /** Section → key → value. */
  readonly sections: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** One sentence for each line that is none of the above. */
  readonly mistakes: readonly string[];
}

const SECTION = /^\[([^\]]+)\]\s*$/;
const PAIR = /^([^\s:=][^:=]*?)\s*[:=]\s*(.*)$/;
const SHOWN = 60;

export function parseIni(text: string): Ini {
  const sections = new Map<string, Map<string, string>>();
  const mistakes: string[] = [];
  let section: Map<string, string> | undefined;
  let key: string | undefined;
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#') || line.startsWith(';')) continue;
    if (/^\s/.test(raw) && section !== undefined && key !== undefined) {
      section.set(key, `${section.get(key) ?? ''} ${value(line)}`.trim());
      continue;
    }
    key = undefined;
    const name = SECTION.exec(line)?.[1]?.trim();
    if (name !== undefined) {
      section = sections.get(name) ?? new Map<string, string>();
      sections.set(name, section);
      continue;
    }
    const pair = PAIR.exec(line);
    if (pair === null) mistakes.push(`line ${index + 1}: neither [section] nor "key: value": ${JSON.stringify(line.slice(0, SHOWN))}`);
    else if (section === undefined) mistakes.push(`line ${index + 1}: stands before the first [section]`);
    else {
      key = (pair[1] ?? '').toLowerCase();
      section.set(key, value(pair[2] ?? ''));
    }
  }
  return { sections, mistakes };
}

function value(text: string): string {
  const comment = /\s;/.exec(text);
  return (comment === null ? text : text.slice(0, comment.index)).trim();
}
