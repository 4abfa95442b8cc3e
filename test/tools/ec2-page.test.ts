import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Operation } from '../../src/ec2/operation.ts';
import { OPERATIONS } from '../../src/ec2/operations/index.ts';
import { FAULTS } from '../../src/lease/faults.ts';
// @ts-expect-error a tool without types
import { ec2Page as untyped } from '../../tools/ec2-page.mjs';

const ec2Page = untyped as (page: string, operations: Iterable<Operation>, faults: typeof FAULTS) => string;

test('docs/protocols/ec2.md says of each action what the table says (npm run docs:ec2 writes it)', () => {
  const page = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'protocols', 'ec2.md'), 'utf8');
  expect(page).toBe(ec2Page(page, OPERATIONS.values(), FAULTS));
});
