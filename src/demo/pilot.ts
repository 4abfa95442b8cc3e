/** The story on borrowed nodes: a private Slurm lends them, pilots make room, and every one of them goes back. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RunInstancesCommand, TerminateInstancesCommand } from '@aws-sdk/client-ec2';
import type { AdminClient } from '../cli/client.ts';
import { breakdown } from '../lease/phases.ts';
import type { LeaseView } from '../manager/types.ts';
import { INSTALL, isInstalled, missingPrograms, startPrivateSlurm, type PrivateSlurm } from './slurm/index.ts';
import { follow, openClient, sayConsoles, sayUsage, type Site } from './site.ts';
import { sayNoQemu, step, until } from './tell.ts';

const NODES = 4;
const GROUP = 3;
const GIVEN_BACK_MS = 60_000;

export interface BorrowedSite {
  readonly slurm: PrivateSlurm;
  readonly toml: string;
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** A sentence on what to install, or undefined. */
export function whatIsMissing(): string | undefined {
  const missing = missingPrograms();
  if (missing.length === 0) return undefined;
  return `--pilot needs a real batch system, and ${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} not on this machine.\nOn Debian: ${INSTALL}\nWithout it, "npm run demo" shows leases on nodes of the service's own.`;
}

export async function startBorrowing(root: string): Promise<BorrowedSite> {
  const pilot = [process.execPath, fileURLToPath(new URL('workspace-pilot.cjs', import.meta.url))];
  const [conf, epilog, logs] = [join(root, 'pilot.conf'), join(root, 'epilog'), join(root, 'logs')];
  mkdirSync(logs);
  const driver = isInstalled('qemu-system-x86_64') ? 'qemu' : 'simulated';
  if (driver === 'simulated') sayNoQemu();
  writeFileSync(conf, `[logging]\nlogfiledir: ${logs}\n[memory]\nmechanism: none\n[systempaths]\nsudo: /usr/bin/sudo\n[other]\nearlywaitratio: 0.5\nlockfile: ${root}/lock-%h\nstatedir: ${root}/state\ndriver: ${driver}\n`);
  writeFileSync(epilog, `#!/bin/sh\nexec ${pilot.join(' ')} --recover --configpath ${conf} >>${logs}/epilog.txt 2>&1\n`);
  chmodSync(epilog, 0o755);
  step(`a private Slurm with ${NODES} nodes`);
  const slurm = await startPrivateSlurm({ dir: join(root, 'slurm'), nodes: NODES, killWaitS: 10, epilog });
  return {
    slurm, env: slurm.env, stop: () => slurm.stop(),
    toml: `[ec2]\nlisten = "127.0.0.1:0"\n[monitoring]\nlisten = ""\n[scheduler]\nmode = "pilot"\n[pilot]\nprogram = ${JSON.stringify(pilot)}\nconfig_path = "${conf}"\npoll = "1s"\nlisten = "127.0.0.1:0"\n`,
  };
}

export async function pilotStory(site: Site, admin: AdminClient, { slurm }: BorrowedSite): Promise<void> {
  const client = await openClient(site, admin);
  const shown = new Map<string, number>();
  const group = async (): Promise<string[]> => {
    const { Instances } = await client.send(new RunInstancesCommand({ ImageId: 'nimbus-guest', InstanceType: 'm1.small', MinCount: GROUP, MaxCount: GROUP }));
    return (Instances ?? []).map((i) => i.InstanceId ?? '');
  };
  step(`RunInstances: a group of ${GROUP} VMs; the service asks Slurm for ${GROUP} nodes`);
  const ids = await group();
  const running = await follow(admin, ids, (leases) => leases.every((l) => l.state === 'Running'), shown);
  await saySlurm(slurm);
  await sayConsoles(client, ids);
  sayTimes(running);
  // The first node of a job keeps the job's script; every other one goes back when its lease is over.
  const one = running.reduce((a, b) => ((a.node ?? '') > (b.node ?? '') ? a : b)).id;
  const others = ids.filter((id) => id !== one);
  step(`TerminateInstances: ${one} only; its node goes back, the others stay`);
  await client.send(new TerminateInstancesCommand({ InstanceIds: [one] }));
  await follow(admin, [one], (leases) => leases.every((l) => l.state === 'Terminated'), shown);
  await slotNodesAre(admin, 1);
  await until('the node’s return to Slurm', GIVEN_BACK_MS, async () => ((await idleNodes(slurm)) > NODES - GROUP ? true : undefined));
  await saySlurm(slurm);
  step('scancel, behind the service’s back: the batch system wants its nodes');
  await slurm.run(['scancel', '--user', String(process.getuid?.() ?? '')]);
  await follow(admin, others, (leases) => leases.every((l) => l.state === 'Terminated'), shown);
  await slotNodesAre(admin, GROUP);
  await until('an empty queue', GIVEN_BACK_MS, async () => ((await slurm.run(['squeue', '--noheader'])).stdout.trim() === '' ? true : undefined));
  await saySlurm(slurm);
  await sayUsage(admin);
  client.destroy();
}

/** Waits until so many pilots have said that their nodes are as they were. */
async function slotNodesAre(admin: AdminClient, returned: number): Promise<void> {
  const slots = await until('the nodes’ return', GIVEN_BACK_MS, async () => {
    const all = await admin.get<Array<{ id: string; nodes: Array<{ host: string | null; state: string }> }>>('/v1/slots', { live: 'false' });
    return all.flatMap((s) => s.nodes).filter((n) => n.state === 'Returned').length >= returned ? all : undefined;
  });
  for (const s of slots) step(`  slot ${s.id}: ${s.nodes.map((n) => `${n.host ?? '?'} ${n.state}`).join(', ')}`);
}

async function idleNodes(slurm: PrivateSlurm): Promise<number> {
  const { stdout } = await slurm.run(['sinfo', '--noheader', '--Node', '--states=idle', '--format=%N']);
  return stdout.trim() === '' ? 0 : stdout.trim().split('\n').length;
}

async function saySlurm(slurm: PrivateSlurm): Promise<void> {
  const jobs = (await slurm.run(['squeue', '--noheader', '--format=job %i  %j  %T  %N'])).stdout.trim();
  const nodes = (await slurm.run(['sinfo', '--noheader', '--Node', '--format=%N %T'])).stdout.trim().split('\n').join(', ');
  step(`  squeue | ${jobs === '' ? 'no jobs' : jobs}`);
  step(`  sinfo  | ${nodes}`);
}

function sayTimes(leases: readonly LeaseView[]): void {
  step('where the time went, ms (slot = torque, pilot, ping; vm = invoke, propagate, create, post)');
  for (const lease of leases) {
    step(`  ${lease.id} on ${lease.node ?? '?'}: ${breakdown(lease.phases).map((b) => `${b.name} ${Math.round(b.ms)}`).join(', ')}`);
  }
}
