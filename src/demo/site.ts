/** The demo's service: started as a process in a directory of its own, followed, taken down with everything that runs on it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EC2Client, GetConsoleOutputCommand } from '@aws-sdk/client-ec2';
import type { AdminClient } from '../cli/client.ts';
import type { EventView, LeaseView } from '../manager/types.ts';
import { sleep } from '../platform/deadline.ts';
import { realClock } from '../platform/real.ts';
import { step, until } from './tell.ts';

const READY_MS = 60_000;
const STATE_MS = 60_000;
const END_MS = 15_000;
const POLL_MS = 50;

export interface Site {
  readonly ec2: string;
  readonly dataDir: string;
}

/** @param env of the service, added to this process's own */
export async function startSite(root: string, toml: string, env: Readonly<Record<string, string>>, onChild: (child: ChildProcess) => void): Promise<Site> {
  const [config, dataDir, readyFile] = [join(root, 'nimbus.toml'), join(root, 'data'), join(root, 'ready.json')];
  writeFileSync(config, `${toml}[log]\nfile = "${join(root, 'service.log')}"\n`);
  const program = fileURLToPath(new URL('nimbus.mjs', import.meta.url));
  const child = spawn(process.execPath, [program, 'serve', '--config', config, '--data', dataDir, '--ready-file', readyFile], { stdio: ['ignore', 'ignore', 'inherit'], detached: true, env: { ...process.env, ...env } });
  onChild(child);
  const ready = await until('the service’s start', READY_MS, () => {
    if (child.exitCode !== null) throw new Error(`the service ended with exit code ${child.exitCode}`);
    return existsSync(readyFile) ? (JSON.parse(readFileSync(readyFile, 'utf8')) as { ec2: string; version: string }) : undefined;
  });
  step(`service ${ready.version} answers at ${ready.ec2} (pid ${child.pid ?? '?'})`);
  return { ec2: ready.ec2, dataDir };
}

/** Prints events of the leases as they are written, until `done` says so. */
export async function follow(admin: AdminClient, ids: readonly string[], done: (leases: readonly LeaseView[]) => boolean, shown: Map<string, number>): Promise<readonly LeaseView[]> {
  return until('the change of state', STATE_MS, async () => {
    const shows = await Promise.all(ids.map((id) => admin.get<LeaseView & { events: EventView[] }>(`/v1/leases/${id}`)));
    for (const lease of shows) {
      for (const e of lease.events.filter((x) => x.seq > (shown.get(lease.id) ?? 0))) {
        step(`  ${lease.id}  ${(e.from ?? '').padEnd(12)} → ${e.to.padEnd(12)} ${e.who}${e.why === '' ? '' : `: ${e.why}`}`);
        shown.set(lease.id, e.seq);
      }
    }
    return done(shows) ? shows : undefined;
  });
}

export async function sayConsoles(client: EC2Client, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const text = await until('the guest’s banner', STATE_MS, async () => {
      const { Output } = await client.send(new GetConsoleOutputCommand({ InstanceId: id }));
      const console = Buffer.from(Output ?? '', 'base64').toString('latin1');
      return console.includes(id) ? console : undefined;
    });
    const lines = text.split(/\r?\n/).filter((l) => l.includes('nimbus'));
    for (const line of lines) step(`  ${id}  | ${line.replace(/[^\x20-\x7e]/g, '')}`);
  }
}

/** A user of the demo, and a client that speaks for it. */
export async function openClient(site: Site, admin: AdminClient): Promise<EC2Client> {
  const user = await admin.post<{ accessKey: string; secretKey: string }>('/v1/users', { name: 'demo' });
  step(`user demo has access key ${user.accessKey}`);
  return new EC2Client({ endpoint: site.ec2, region: 'nimbus', credentials: { accessKeyId: user.accessKey, secretAccessKey: user.secretKey } });
}

interface Usage {
  readonly lease: string;
  readonly user: string;
  readonly chargedMinutes: number;
  readonly intervals: ReadonlyArray<{ readonly node: string; readonly start: number; readonly stop: number | null }>;
}

export async function sayUsage(admin: AdminClient): Promise<void> {
  step('usage records');
  for (const u of await admin.get<Usage[]>('/v1/usage')) {
    const ms = u.intervals.reduce((sum, i) => sum + ((i.stop ?? i.start) - i.start), 0);
    step(`  ${u.lease}  ${u.user}  on ${u.intervals.map((i) => i.node).join(', ')} for ${(ms / 1000).toFixed(1)} s, charged ${u.chargedMinutes} min`);
  }
}

/** Ends what runs, also when the story broke off: VMs would outlive their service. */
export async function takeDown(child: ChildProcess, admin: AdminClient): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const live = await admin.get<LeaseView[]>('/v1/leases', { live: 'true' }).catch(() => []);
    for (const lease of live) await admin.post(`/v1/leases/${lease.id}/destroy`, { why: 'the demo ends' });
    const deadline = realClock.monotonic() + END_MS;
    while (live.length > 0 && realClock.monotonic() < deadline) {
      if ((await admin.get<LeaseView[]>('/v1/leases', { live: 'true' })).length === 0) break;
      await sleep(realClock, POLL_MS);
    }
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  step('service stopped');
}
