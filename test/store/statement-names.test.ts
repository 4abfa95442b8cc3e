/** A connection prepares a statement under its name: two of one name fail wherever both are asked on one connection. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const SRC = join(import.meta.dirname, '..', '..', 'src');
const NAME = /\bstatement(?:<[^(]*>)?\(\s*'([a-z0-9-]+)'/g;

test('each statement of the product has a name of its own', () => {
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts'));
  const names = files.flatMap((f) => [...readFileSync(join(SRC, f), 'utf8').matchAll(NAME)].map(([, name = '']) => name));
  expect(names.length).toBeGreaterThan(200);
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
});
