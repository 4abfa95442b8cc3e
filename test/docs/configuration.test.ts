/** The table of docs/operations.md against the schema and the commented default. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { configSchema } from '../../src/platform/config.ts';
import { pageOf, ROOT } from './pages.ts';

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
}

/** `section.key`; entries of a table that users name are `section.NAME.key`, those of a list `section.key`. */
function keysOf(schema: Schema, path: readonly string[]): string[] {
  if (schema.properties !== undefined) return Object.entries(schema.properties).flatMap(([key, s]) => keysOf(s, [...path, key]));
  if (typeof schema.additionalProperties === 'object') return keysOf(schema.additionalProperties, [...path, 'NAME']);
  if (schema.items?.properties !== undefined) return keysOf(schema.items, path);
  return [path.join('.')];
}

const rows = [...pageOf('docs/operations.md').matchAll(/^\| `([a-z0-9_]+\.[A-Za-z0-9_.]+)` \| (\S.*?) \| (.+) \|$/gm)]
  .map(([, key = '', value = '', meaning = '']) => ({ key, value, meaning }))
  .filter(({ key }) => !/^(?:qemu|helper)\./.test(key));

it('every key of the configuration is described, and no other', () => {
  const schema = z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }) as Schema;
  expect(rows.map((r) => r.key).sort()).toEqual(keysOf(schema, []).sort());
});

it.each(rows.filter((r) => !/^(?:types|usage_sinks)\./.test(r.key)))('$key has the default that the page says', ({ key, value }) => {
  const toml = parse(readFileSync(join(ROOT, 'etc', 'nimbus.toml'), 'utf8')) as Record<string, unknown>;
  const [section = '', name = ''] = key.split('.');
  const table = toml[section];
  expect(value).toBe(`\`${JSON.stringify(((Array.isArray(table) ? table[0] : table) as Record<string, unknown>)[name])}\``);
});
