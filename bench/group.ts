/** A group of 64 leases, simulated VMM without delay: RunInstances sent to all 64 Running, median of 7. */
import { createSignedClient } from './support/signed.ts';
import { median, simulatedNodes, startBenchService } from './support/service.ts';

const N = 64;
const service = await startBenchService(simulatedNodes(4, 4096));
const client = createSignedClient(service.ec2, service.credentials, 4);
try {
  const totals: number[] = [];
  const answers: number[] = [];
  for (let i = 0; i < 8; i += 1) {
    const started = performance.now();
    const run = await client.call({ Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: String(N), MaxCount: String(N), ClientToken: `group-${i}` });
    if (run.status !== 200) throw new Error(run.body);
    answers.push(performance.now() - started);
    const group = /<reservationId>(r-[0-9a-f]+)/.exec(run.body)?.[1] ?? '';
    for (;;) {
      const seen = await client.call({ Action: 'DescribeInstances', 'Filter.1.Name': 'reservation-id', 'Filter.1.Value.1': group });
      if ((seen.body.match(/<name>running<\/name>/g) ?? []).length === N) break;
    }
    totals.push(performance.now() - started);
  }
  // The first round also warms the code up.
  console.log(`group of ${N}: answered ${median(answers.slice(1)).toFixed(0)} ms, all Running ${median(totals.slice(1)).toFixed(0)} ms (target 200 ms; medians of 7)`);
} finally {
  client.close();
  await service.stop();
}
