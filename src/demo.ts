/**
 * `npm run demo`: the whole story on this machine. Starts the service with a private PostgreSQL in a directory of its own,
 * leases a group of VMs through the AWS SDK, shows what happens, ends them, prints the usage records, and leaves nothing
 * behind. `npm run demo -- --pilot` tells it on nodes that a private Slurm lends.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAdminClient } from './cli/client.ts';
import { OWNED_NODES, ownedStory } from './demo/owned.ts';
import { pilotStory, startBorrowing, whatIsMissing } from './demo/pilot.ts';
import { startSite, takeDown } from './demo/site.ts';
import { Interrupted, step } from './demo/tell.ts';

const ARGUMENTS = process.argv.slice(2);
const PILOT = ARGUMENTS.includes('--pilot');

async function demo(root: string): Promise<void> {
  const borrowing = PILOT ? await startBorrowing(root) : undefined;
  let child: ChildProcess | undefined;
  const admin = createAdminClient(join(root, 'data'));
  try {
    const site = await startSite(root, borrowing?.toml ?? OWNED_NODES, borrowing?.env ?? {}, (started) => { child = started; });
    await (borrowing === undefined ? ownedStory(site, admin) : pilotStory(site, admin, borrowing));
  } finally {
    if (child !== undefined) await takeDown(child, admin);
    await borrowing?.stop();
  }
}

const unknown = ARGUMENTS.find((a) => a !== '--pilot');
const missing = PILOT ? whatIsMissing() : undefined;
if (unknown !== undefined || missing !== undefined) {
  console.error(`demo: ${missing ?? `unknown argument ${unknown ?? ''}; say nothing, or --pilot`}`);
  process.exit(2);
}
// The SDK says on every start that its versions of 2027 will want a newer Node; the lockfile holds one that does not.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';
const root = mkdtempSync(join(tmpdir(), 'nimbus-demo-'));
try {
  await demo(root);
  rmSync(root, { recursive: true, force: true });
  step('nothing is left behind');
} catch (e) {
  if (e instanceof Interrupted) {
    rmSync(root, { recursive: true, force: true });
    process.exit(130);
  }
  console.error(`demo: ${(e as Error).message}\nIts files are kept in ${root}; service.log there says more.`);
  process.exitCode = 1;
}
