/** The project's pages, cut into what can be checked. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Page {
  /** Relative to the project. */
  readonly file: string;
  readonly text: string;
}

export const pages: readonly Page[] = [
  'README.md', 'CHANGELOG.md', 'src/scheduler/README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.md')).map((f) => `docs/${f}`),
].map((file) => ({ file, text: readFileSync(join(ROOT, file), 'utf8') }));

export const pageOf = (file: string): string => pages.find((p) => p.file === file)?.text ?? '';

interface Block {
  readonly language: string;
  readonly text: string;
}

const FENCE = /^([ ]*)```(\w*)\n([\s\S]*?)\n\1```$/gm;

export const blocks = ({ text }: Page): Block[] =>
  [...text.matchAll(FENCE)].map(([, indent = '', language = '', body = '']) => ({ language, text: body.replaceAll(`\n${indent}`, '\n').trimStart() }));

/** Without blocks of code: what is read as prose. */
export const prose = ({ text }: Page): string => text.replace(FENCE, '');

/** Command lines of `sh` blocks: continued lines joined, comments, redirections and what comes after a pipe cut off. */
export function commandLines(page: Page): string[] {
  return blocks(page).filter((b) => b.language === 'sh')
    .flatMap((b) => b.text.replace(/\\\n\s*/g, ' ').split('\n'))
    .flatMap((line) => line.replace(/\s+#.*$/, '').split(/\s(?:&&|\|\|?|>>?|2>&1)\s/))
    .map((line) => line.replace(/\s&$/, '').trim());
}

/** Words as a POSIX shell would part them; expansions stay as they are. */
export const words = (line: string): string[] =>
  [...line.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([w]) => w.replace(/["']/g, ''));

/** Slug of a heading as the forge makes it. */
export function anchors(text: string): string[] {
  return [...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, title = '']) => title.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replace(/ /g, '-'));
}
