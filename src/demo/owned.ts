/** The story on nodes of the service's own. */
import {
  CreateKeyPairCommand, DescribeInstancesCommand, RunInstancesCommand, TerminateInstancesCommand, type Instance,
} from '@aws-sdk/client-ec2';
import type { AdminClient } from '../cli/client.ts';
import { breakdown } from '../lease/phases.ts';
import { follow, openClient, sayConsoles, sayUsage, type Site } from './site.ts';
import { sayNoQemu, step } from './tell.ts';

export const OWNED_NODES = `[ec2]
listen = "127.0.0.1:0"

[monitoring]
listen = ""

[[local_nodes]]
name = "node-a"
memory_mb = 1024
cores = 4

[[local_nodes]]
name = "node-b"
memory_mb = 1024
cores = 4

[scheduler]
strategy = "round-robin"
`;
async function sayNodes(admin: AdminClient): Promise<boolean> {
  const nodes = await admin.get<Array<{ name: string; driver: string | null; memoryMb: number; cores: number }>>('/v1/nodes');
  for (const n of nodes) step(`VMM node ${n.name}: ${n.memoryMb} MiB, ${n.cores} cores, ${n.driver ?? 'unknown'} VMs`);
  const real = nodes.every((n) => n.driver === 'qemu');
  if (!real) sayNoQemu();
  return real;
}

function sayAddresses(instances: readonly Instance[], real: boolean): void {
  for (const i of instances) {
    const ssh = i.Tags?.find((t) => t.Key === 'nimbus:ssh')?.Value;
    const at = i.PublicIpAddress ?? (real ? 'no address' : 'no address (a simulated VM cannot be reached)');
    step(`  ${i.InstanceId}  ${at}${ssh === undefined ? '' : `, guest’s SSH port: ${ssh}`}`);
  }
}

export async function ownedStory(site: Site, admin: AdminClient): Promise<void> {
  const real = await sayNodes(admin);
  const client = await openClient(site, admin);
  await client.send(new CreateKeyPairCommand({ KeyName: 'demo', KeyType: 'ed25519' }));
  step('RunInstances: a group of two VMs for ten minutes');
  const run = await client.send(new RunInstancesCommand({
    ImageId: 'nimbus-guest', InstanceType: 'm1.small', MinCount: 2, MaxCount: 2, KeyName: 'demo',
    TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'nimbus:duration', Value: '10m' }, { Key: 'Name', Value: 'demo' }] }],
  }));
  const ids = (run.Instances ?? []).map((i) => i.InstanceId ?? '');
  const shown = new Map<string, number>();
  const running = await follow(admin, ids, (leases) => leases.every((l) => l.state === 'Running'), shown);
  step('addresses');
  const described = await client.send(new DescribeInstancesCommand({ InstanceIds: ids }));
  sayAddresses((described.Reservations ?? []).flatMap((r) => r.Instances ?? []), real);
  step('console output of the guests');
  await sayConsoles(client, ids);
  step('where the time went, ms');
  for (const lease of running) {
    step(`  ${lease.id} on ${lease.node ?? '?'}: ${breakdown(lease.phases).map((b) => `${b.name} ${Math.round(b.ms)}`).join(', ')}`);
  }
  step('TerminateInstances');
  await client.send(new TerminateInstancesCommand({ InstanceIds: ids }));
  await follow(admin, ids, (leases) => leases.every((l) => l.state === 'Terminated'), shown);
  await sayUsage(admin);
  client.destroy();
}
