/** The administrators' door with a manager that remembers its calls and answers from a script. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Fault } from '../../src/lease/faults.ts';
import type { AdminManager, NodeView } from '../../src/manager/admin-types.ts';
import type { LeaseView } from '../../src/manager/types.ts';
import { openDataDir } from '../../src/platform/datadir.ts';
import { createAdminServer } from '../../src/web/admin.ts';
import type { AdministeredLeases, AdminStatus } from '../../src/web/routes.ts';
import { testContext, type TestContext } from './context.ts';

export interface Call {
  readonly name: string;
  readonly args: readonly unknown[];
}

export interface FakeSite {
  readonly dataDir: string;
  readonly socket: string;
  readonly calls: Call[];
  readonly context: TestContext;
  /** What `name` (`users.add`, …) answers, or does. */
  on(name: string, answer: (...args: never[]) => unknown): void;
  close(): Promise<void>;
}

export async function openFakeSite(dataDir = join(mkdtempSync(join(tmpdir(), 'ad-')), 'data'), facts: Partial<AdminStatus> = {}): Promise<FakeSite> {
  const calls: Call[] = [];
  const answers = new Map<string, (...args: never[]) => unknown>();
  const context = testContext();
  const part = (room: string): never => new Proxy({}, {
    get: (_t, verb) => async (...args: never[]) => {
      const name = `${room}.${String(verb)}`;
      calls.push({ name, args });
      const answer = answers.get(name);
      if (answer === undefined) throw new Fault('Unsupported', `the fake does not know ${name}`);
      return answer(...args);
    },
  }) as never;
  const admin: AdminManager = {
    users: part('users'), nodes: part('nodes'), images: part('images'), networks: part('networks'), slots: part('slots'),
    breakdown: part('breakdown'), work: { of: async () => (answers.has('work.of') ? answers.get('work.of')?.() : null) as never }, policies: part('policies'), usage: part('usage'), processes: part('processes'), events: part('events'),
  };
  const leases: AdministeredLeases = part('leases');
  const dir = openDataDir(dataDir);
  const server = await createAdminServer({
    ctx: context, dir, admin, manager: { leases }, agentConfig: { cacheMb: 7 },
    status: () => ({ version: '0.1.0', pid: 4711, ec2: 'http://127.0.0.1:8444/', database: 'private PostgreSQL', ...facts }),
  });
  return {
    dataDir, socket: join(dir.run, 'admin.sock'), calls, context,
    on: (name, answer) => void answers.set(name, answer),
    async close() {
      await server.close();
      rmSync(join(dataDir, '..'), { recursive: true, force: true });
    },
  };
}

export const aLease = (over: Partial<LeaseView> = {}): LeaseView => ({
  id: 'i-0123456789abcdef0', groupId: 'r-0123456789abcdef0', accountId: 1, accountName: 'alice', ownerId: '000000000001',
  launchIndex: 0, state: 'Running', generation: 1, imageId: 'ami-0123456789abcdef0', imageName: 'nimbus-guest', type: 'm1.small',
  memoryMb: 128, cores: 1, diskMb: 0, zone: 'default', node: 'n1', keyName: null, clientToken: null, nics: [],
  reach: { host: '192.0.2.7', sshPort: 42001, forwarded: true }, createdAt: 0, endsAt: 86_400_000, endedAt: null, runningAt: 200,
  reasonCode: null, reason: null, tags: {}, phases: {}, slot: null, waiting: null, graceEndsAt: null, ...over,
} as LeaseView);

export const aNode = (over: Partial<NodeView> = {}): NodeView => ({
  id: 1, name: 'n1', zone: 'default', transport: 'ssh', address: 'root@n1.example.org:22', hostKey: 'ssh-ed25519 AAAA', memoryMb: 4096, cores: 4,
  memoryUsed: 128, coresUsed: 1, leases: 1, networks: ['*'], active: true, reachable: true, driver: 'qemu', agentVersion: '0.1.0',
  lastSeen: 0, lastError: null, ...over,
});
