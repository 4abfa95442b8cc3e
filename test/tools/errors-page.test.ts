import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FAULTS } from '../../src/lease/faults.ts';
// @ts-expect-error a tool without types
import { errorsPage as untyped } from '../../tools/errors-page.mjs';

const errorsPage = untyped as (page: string, faults: typeof FAULTS) => string;

test('docs/errors.md has the table of src/lease/faults.ts (npm run docs:errors writes it)', () => {
  const page = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'errors.md'), 'utf8');
  expect(page).toBe(errorsPage(page, FAULTS));
});
