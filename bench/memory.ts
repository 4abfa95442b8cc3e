/** Resident memory of the service with 10,000 live leases (target 250 MiB), and before any. */
import { createSignedClient } from './support/signed.ts';
import { simulatedNodes, startBenchService } from './support/service.ts';

const LEASES = 10_000;
const service = await startBenchService(`[lease]\nmax_per_user = 1000000\n${simulatedNodes(4, 4096)}`);
const client = createSignedClient(service.ec2, service.credentials, 4);
try {
  const empty = service.rssMb();
  for (let made = 0; made < LEASES; made += 100) {
    const run = await client.call({ Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: '100', MaxCount: '100', ClientToken: `memory-${made}` });
    if (run.status !== 200) throw new Error(run.body);
  }
  const leases = async (): Promise<Array<{ state: string }>> => (await service.admin('lease', 'list')) as Array<{ state: string }>;
  while ((await leases()).filter((l) => l.state === 'Running').length < LEASES);
  const listed = service.rssMb();
  await client.call({ Action: 'DescribeInstances' });
  console.log(`memory: ${empty.toFixed(0)} MiB idle, ${listed.toFixed(0)} MiB with ${LEASES} live leases, ${service.rssMb().toFixed(0)} MiB after describing all of them at once (target 250 MiB)`);
} finally {
  client.close();
  await service.stop();
}
