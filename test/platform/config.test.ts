import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { expect, test } from 'vitest';
import { ConfigError, configSchema, parseConfig, readConfig } from '../../src/platform/config.ts';

const file = join(import.meta.dirname, '..', '..', 'etc', 'nimbus.toml');
const text = readFileSync(file, 'utf8');
const defaults = configSchema.parse({});

test('etc/nimbus.toml says what the program does without it', () => {
  expect(readConfig(file)).toEqual(defaults);
});

/** `a.b.c` of every value, with [] for the entries of lists. */
function keys(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return value.length === 0 ? [path] : value.flatMap((v) => keys(v, `${path}[]`));
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([k, v]) => keys(v, `${path}.${k}`));
}

test('etc/nimbus.toml shows every key that there is', () => {
  expect(keys(parse(text)).sort()).toEqual(keys(defaults).sort());
});

test('each mistake is named with its key and what is allowed, all of them at once', () => {
  const wrong = '[ec2]\nlisten = "nowhere"\nport = 1\n[lease]\ndefault_duration = "soon"\n';
  expect(() => parseConfig(wrong, 'my.toml')).toThrow(ConfigError);
  expect(() => parseConfig(wrong, 'my.toml')).toThrow(/my\.toml: 3 mistakes\n.*ec2\.listen: must be HOST:PORT.*ec2: unknown key port.*lease\.default_duration: "soon" is no duration/s);
});

test('a syntax error is named with its line', () => {
  expect(() => parseConfig('[ec2]\nlisten = ', 'my.toml')).toThrow(/my\.toml: one mistake\n {2}line 2: /);
});

test('a file that is not there is named', () => {
  expect(() => readConfig('/nowhere/nimbus.toml')).toThrow(/nowhere\/nimbus\.toml: .*cannot be read: no such file/s);
});
