/** Around the whole run: every temporary file goes into one directory, which is removed at the end. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export default function setup(): () => void {
  const outside = tmpdir();
  const root = mkdtempSync(join(outside, 'nt-'));
  // Helpers that run as another user pass through.
  chmodSync(root, 0o711);
  process.env['TMPDIR'] = root;
  return () => {
    process.env['TMPDIR'] = outside;
    rmSync(root, { recursive: true, force: true });
  };
}
