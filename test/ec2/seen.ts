/**
 * Notes which action of the table has been answered in this run, and with what: a file for each pair, so that files of tests need
 * not know of each other. `npm test` holds the notes against the table (tools/ec2-seen.mjs).
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isFault } from '../../src/lease/faults.ts';
import type { Operation } from '../../src/ec2/operation.ts';
import { OPERATIONS } from '../../src/ec2/operations/index.ts';
import { getCallerIdentity } from '../../src/ec2/sts.ts';

const dir = process.env['NIMBUS_EC2_SEEN'];
if (dir !== undefined) for (const operation of [...OPERATIONS.values(), getCallerIdentity]) watch(operation, dir);

function watch(operation: { -readonly [K in keyof Operation]: Operation[K] }, into: string): void {
  const { name, read } = operation;
  const note = (what: string): void => writeFileSync(join(into, `${name}.${what}`), '');
  const refused = (e: unknown): never => {
    if (isFault(e)) note(e.code);
    throw e;
  };
  operation.read = (params) => {
    try {
      const reading = read(params);
      return {
        ...reading,
        run: async (call) => {
          const values = await reading.run(call).catch(refused);
          if (!reading.dryRun) note('success');
          return values;
        },
      };
    } catch (e) {
      return refused(e);
    }
  };
}
