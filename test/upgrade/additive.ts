/**
 * The rule for migrations, as far as a text shows it: a release that runs must find everything where it was, and whatever it
 * writes must be accepted. docs/new-migration.md says it in prose.
 */
export interface Breach {
  readonly statement: string;
  readonly why: string;
}

const ALWAYS: ReadonlyArray<readonly [RegExp, string]> = [
  [/\bDROP\s+(TABLE|COLUMN|VIEW|SCHEMA|TYPE|SEQUENCE|FUNCTION)\b/i, 'the previous release may still use it: remove it a release later'],
  [/\bRENAME\b/i, 'the previous release knows the old name: add the new one beside it'],
  [/\bALTER\s+(COLUMN\s+)?\w+\s+(SET\s+DATA\s+)?TYPE\b/i, 'the previous release reads and writes the old type: add a column'],
  [/\bSET\s+NOT\s+NULL\b/i, 'the previous release may leave it out: give it a default, and demand it a release later'],
  [/\bDROP\s+DEFAULT\b/i, 'the previous release may leave it out'],
  [/\bALTER\s+(COLUMN\s+)?\w+\s+(ADD|SET)\s+GENERATED\b/i, 'the previous release may write it'],
];
/** Of tables that the previous release knows. */
const OF_OLD_TABLES: ReadonlyArray<readonly [RegExp, string]> = [
  [/\bADD\s+(COLUMN\s+)?(IF\s+NOT\s+EXISTS\s+)?\w+\s+(?!CONSTRAINT)[^,]*\bNOT\s+NULL\b(?![^,]*\bDEFAULT\b)/i, 'the previous release does not fill it: give it a default'],
  [/\bADD\s+(CONSTRAINT\s+\w+\s+)?(CHECK|UNIQUE|PRIMARY\s+KEY|FOREIGN\s+KEY|EXCLUDE)\b/i, 'rows of the previous release may break it'],
  [/\bCREATE\s+UNIQUE\s+INDEX\b/i, 'rows of the previous release may break it'],
  // One that adds up what was written, after it is, is tried with the release's own writes; one that may refuse or change them is not.
  [/\bCREATE\s+(RULE\b|CONSTRAINT\s+TRIGGER\b|TRIGGER\s+\w+\s+(BEFORE|INSTEAD)\b)/i, 'it may change or refuse what the previous release writes'],
];

export function breachesOf(statements: readonly string[]): Breach[] {
  const made = new Set(statements.flatMap((s) => /\bCREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?"?(\w+)/i.exec(s)?.[1] ?? []));
  return statements.flatMap((statement) => {
    // What a default or a check says between quotes is no SQL.
    const text = statement.replace(/--.*$/gm, '').replace(/'[^']*'/g, "''").replace(/\bNOT\s+NULL\s+DEFAULT\b/gi, 'DEFAULT').replace(/\bDEFAULT\s+(\S+)\s+NOT\s+NULL\b/gi, 'DEFAULT $1');
    const table = (/\bALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?"?(\w+)/i.exec(text) ?? /\bON\s+"?(\w+)/i.exec(text))?.[1] ?? '';
    if (/^\s*CREATE\s+TABLE\b/i.test(text)) return [];
    const rules = made.has(table) ? ALWAYS : [...ALWAYS, ...OF_OLD_TABLES];
    return rules.filter(([pattern]) => pattern.test(text)).map(([, why]) => ({ statement, why }));
  });
}
