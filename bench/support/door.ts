/** The EC2 door alone, with a manager in memory, in a process of its own: what signatures, parsing and XML cost. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { ALICE, alice, openDoor } from '../../test/ec2/door.ts';
import { lease } from '../../test/ec2/fake-manager.ts';
import { cpuMs } from './service.ts';

const CHILD = 'door-child';

export interface BenchDoor {
  readonly ec2: string;
  readonly credentials: { accessKey: string; secretKey: string };
  cpuMs(): number;
  stop(): void;
}

/** Call first: in the child this serves and never returns. */
export async function serveIfChild(leases: number): Promise<void> {
  if (process.argv[2] !== CHILD) return;
  const door = await openDoor({ now: Date.now() });
  for (let n = 1; n <= leases; n++) door.manager.leasesById.set(lease(n, alice).id, lease(n, alice, { groupId: 'r-00000000000000001', launchIndex: n - 1, tags: { Name: `vm ${n}` } }));
  // Nothing reads the kept log here; it must not grow.
  const push = door.ctx.lines.push.bind(door.ctx.lines);
  door.ctx.lines.push = (...lines) => { door.ctx.lines.length = 0; return push(...lines); };
  setInterval(() => { door.now = Date.now(); }, 1000);
  process.send?.(door.url);
  await once(process, 'disconnect');
  process.exit(0);
}

export async function startBenchDoor(): Promise<BenchDoor> {
  const child = fork(process.argv[1] ?? '', [CHILD]);
  const [ec2] = await once(child, 'message') as [string];
  return {
    ec2,
    credentials: { accessKey: ALICE.accessKey, secretKey: ALICE.secret },
    cpuMs: () => cpuMs(child.pid ?? 0),
    stop: () => { child.kill(); },
  };
}
