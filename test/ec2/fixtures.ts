/** The captured requests of test/fixtures/ec2. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseParams } from '../../src/ec2/params.ts';
import { parseIso } from '../../src/ec2/time.ts';

export interface Capture {
  readonly name: string;
  readonly action: string;
  readonly bytes: Buffer;
  /** Where the body begins. */
  readonly bodyAt: number;
  /** When it was signed, ms. */
  readonly at: number;
}

const ROOT = join(import.meta.dirname, '../fixtures/ec2');

export const CAPTURES: readonly Capture[] = readdirSync(ROOT, { withFileTypes: true })
  .filter((d) => d.isDirectory())
  .flatMap((d) => readdirSync(join(ROOT, d.name)).map((f) => read(d.name, f)));

function read(folder: string, file: string): Capture {
  const bytes = readFileSync(join(ROOT, folder, file));
  const bodyAt = bytes.indexOf('\r\n\r\n') + 4;
  const head = bytes.subarray(0, bodyAt).toString('latin1');
  const date = /\r\nx-amz-date: *(\S+)/i.exec(head)?.[1] ?? paramsOf(bytes, bodyAt).get('Timestamp') ?? '';
  return { name: `${folder}/${file}`, action: file.replace(/^\d+-|\.req$/g, ''), bytes, bodyAt, at: parseIso(date) ?? NaN };
}

export function paramsOf(bytes: Buffer, bodyAt: number): ReadonlyMap<string, string> {
  const target = bytes.subarray(0, bytes.indexOf('\r\n')).toString('latin1').split(' ')[1] ?? '';
  return parseParams(Buffer.from(target.slice(target.indexOf('?') + 1 || target.length), 'latin1'), bytes.subarray(bodyAt));
}
