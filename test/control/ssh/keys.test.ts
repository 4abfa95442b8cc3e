/** The operating key is made once and used for ever: one that nobody can read must never be written. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { operatingKey } from '../../../src/control/ssh/keys.ts';

it('every key that is made can be read again', () => {
  const dir = mkdtempSync(join(tmpdir(), 'keys-'));
  try {
    // Of ssh2's own keys one in 256 cannot.
    for (let i = 0; i < 1500; i += 1) {
      const made = operatingKey(join(dir, String(i)));
      expect(operatingKey(join(dir, String(i)))).toEqual(made);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
