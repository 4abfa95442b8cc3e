/** Every filter that the reference of a Describe names is known here, and no other; the SDK's type declarations have the reference's text. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OPERATIONS } from '../../src/ec2/operations/index.ts';
import { ask, openDoor, type OpenDoor } from './door.ts';

const MODELS = new URL('../../node_modules/@aws-sdk/client-ec2/dist-types/models/', import.meta.url);
const source = readdirSync(MODELS).filter((f) => f.startsWith('models_') && f.endsWith('.d.ts')).map((f) => readFileSync(new URL(f, MODELS), 'utf8')).join('\n');

/** Values of filters of images and of volumes' status, explained in the form of filters; and `tag:KEY`. */
const NO_FILTERS = ['tag', 'critical', 'high', 'medium', 'low', 'informational', 'io-enabled', 'io-performance'];

function documented(action: string): string[] {
  const body = new RegExp(`export interface ${action}Request \\{([^]*?)\\n\\}`).exec(source)?.[1] ?? '';
  const before = body.slice(0, body.search(/^    Filters?\?:/m));
  const doc = before.slice(before.lastIndexOf('/**'));
  // `<code>name</code> - what it is`; values that a filter may have stand in codes too, but no dash follows them.
  return [...doc.matchAll(/<code>([a-z0-9.-]+)<\/code>\s*[-–:]/g)].map((m) => m[1] ?? '').filter((n) => !NO_FILTERS.includes(n));
}

/** Tags stand in the reference as `tag:KEY`; those of instance states are asked for with the instances. */
const tagged = (action: string): boolean => action !== 'DescribeInstanceStatus' && (new RegExp(`export interface ${action}Request \\{[^]*?\\n\\}`).exec(source)?.[0].includes('<code>tag:') ?? false);

let door: OpenDoor;
beforeAll(async () => { door = await openDoor(); });
afterAll(() => door.close());

const describes = [...OPERATIONS.values()].filter((o) => o.name.startsWith('Describe') && 'Filter' in o.input).map((o) => o.name);

const filteredBy = (action: string, name: string, value: string) => ask(door, { 'Action': action, 'Filter.1.Name': name, 'Filter.1.Value.1': value });

it.each(describes.filter(tagged))('%s knows the filters on tags', async (action) => {
  for (const name of ['tag:Name', 'tag-key', 'tag:']) expect((await filteredBy(action, name, 'x')).status, name).toBe(200);
});

describe.each(describes)('%s', (action) => {
  const filtered = (name: string, value = '*') => filteredBy(action, name, value);

  it('knows the filters of the reference, and refuses others', async () => {
    const names = documented(action);
    expect(names.length).toBeGreaterThan(0);
    const unknown: string[] = [];
    for (const name of names) if ((await filtered(name)).status !== 200) unknown.push(name);
    expect(unknown).toEqual([]);
    for (const name of ['colour', 'Tag:x', '__proto__', 'toString']) expect(await filtered(name)).toMatchObject({ status: 400, code: 'InvalidParameterValue' });
  });

  it('bounds values, and takes wildcards that fit nothing', async () => {
    const many = Object.fromEntries(Array.from({ length: 201 }, (_, i) => [`Filter.1.Value.${i + 1}`, `v${i}`]));
    expect(await ask(door, { 'Action': action, 'Filter.1.Name': documented(action)[0] ?? '', ...many })).toMatchObject({ status: 400, code: 'FilterLimitExceeded' });
    expect((await filtered(documented(action)[0] ?? '', '*a*a*a*a*a*a*a*a*a*a*a*a*b')).status).toBe(200);
  });
});
