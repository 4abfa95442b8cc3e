/**
 * Signed DescribeInstances answering 16 instances, per core of the service (target 2,000/s = 0.50 ms of CPU), with the real
 * store, and with the door alone. Then the time until each kind of bad input has its refusal.
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

const BAD: ReadonlyArray<readonly [what: string, body: string]> = [
  ['unsigned', ''],
  ['10,000 parameters', Array.from({ length: 10_000 }, (_, i) => `InstanceId.${i}=i-1`).join('&')],
  ['1 MiB of escapes', '%41'.repeat(349_000)],
  ['2 MiB', 'a'.repeat(2 * 1024 * 1024)],
  ['malformed percent', 'Action=%zz'],
  ['XML', '<a><b></a>'],
];

async function doorAlone(): Promise<void> {
  const door = await startBenchDoor();
  const client = createSignedClient(door.ec2, door.credentials, CONNECTIONS);
  try {
    told('door alone', await perRequest(client, door.cpuMs));
    for (const [what, body] of BAD) {
      const times: number[] = [];
      let status = 0;
      for (let i = 0; i < 21; i++) {
        const begun = performance.now();
        const answer = await fetch(door.ec2, { method: 'POST', body, headers: { 'content-type': 'application/x-www-form-urlencoded' } });
        await answer.text();
        times.push(performance.now() - begun);
        status = answer.status;
      }
      console.log(`bad input    ${what.padEnd(18)} ${status} after ${median(times).toFixed(2)} ms`);
    }
  } finally {
    client.close();
    door.stop();
  }
}

await doorAlone();
await withStore();
