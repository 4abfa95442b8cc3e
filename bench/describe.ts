/**
 * Signed DescribeInstances answering 16 instances, per core of the service (target 2,000/s = 0.50 ms of CPU), with the real
 * store, and with the door alone.
 */
import { createSignedClient, type SignedClient } from './support/signed.ts';
import { serveIfChild, startBenchDoor } from './support/door.ts';
import { median, simulatedNodes, startBenchService } from './support/service.ts';

const INSTANCES = 16;
const ROUNDS = 5;
const REQUESTS = 4000;
const CONNECTIONS = 8;

await serveIfChild(INSTANCES);

async function perRequest(client: SignedClient, cpuMs: () => number): Promise<number> {
  const round = async (requests: number): Promise<number> => {
    const before = cpuMs();
    let left = requests;
    await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
      while (left-- > 0) {
        const { status, body } = await client.call({ Action: 'DescribeInstances' });
        if (status !== 200 || body.split('<instanceId>').length !== INSTANCES + 1) throw new Error(body.slice(0, 500));
      }
    }));
    return (cpuMs() - before) / requests;
  };
  await round(REQUESTS);
  const rounds: number[] = [];
  for (let i = 0; i < ROUNDS; i++) rounds.push(await round(REQUESTS));
  return median(rounds);
}

const told = (what: string, ms: number): void => {
  console.log(`${what.padEnd(12)} ${ms.toFixed(3)} ms of CPU a request, ${(1000 / ms).toFixed(0)} requests/s per core`);
};

async function withStore(): Promise<void> {
  const service = await startBenchService(simulatedNodes(2, 64));
  const client = createSignedClient(service.ec2, service.credentials, CONNECTIONS);
  try {
    const run = await client.call({ Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: String(INSTANCES), MaxCount: String(INSTANCES) });
    if (run.status !== 200) throw new Error(run.body);
    told('real store', await perRequest(client, () => service.cpuMs()));
  } finally {
    client.close();
    await service.stop();
  }
}

async function doorAlone(): Promise<void> {
  const door = await startBenchDoor();
  const client = createSignedClient(door.ec2, door.credentials, CONNECTIONS);
  try {
    told('door alone', await perRequest(client, door.cpuMs));
  } finally {
    client.close();
    door.stop();
  }
}

await doorAlone();
await withStore();
