/**
 * DescribeInstances of an account with 100,000 live instances: by an exact tag in pages of 1,000 (just launched, and when
 * autovacuum has been), and by a wildcard that 20 of them match (each at most 150 ms), beside reading all of it to find them;
 * and what another user's reads take while one client sends the two searches in turns without a pause (p99 at most 50 ms).
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connectPrivate } from '../test/support/contents.ts';
import { createSignedClient, type SignedClient } from './support/signed.ts';
import { median, simulatedNodes, startBenchService } from './support/service.ts';

const INSTANCES = Number(process.argv[2] ?? 100_000);
const [GROUP, NEEDLES, PAGE, ROUNDS, OTHERS] = [100, 20, 1000, 15, 2000];
const TARGET_MS = 150;
const OTHERS_TARGET_MS = 50;

/** Whose requests are the load: in a process of its own, so that reading long answers does not keep others from being measured. */
const LOAD = 'search-load';

type Parameters = Readonly<Record<string, string>>;
const filter = (name: string, value: string): Parameters => ({ 'Filter.1.Name': name, 'Filter.1.Value.1': value });
const production = filter('tag:env', 'production');
const heads = filter('tag:Name', '*ad n*');

if (process.argv[2] === LOAD) await searchUntilKilled();

const service = await startBenchService(`[lease]\nmax_per_user = 1000000\n${simulatedNodes(4, Math.ceil(INSTANCES / 4) + 100)}`);
const client = createSignedClient(service.ec2, service.credentials, 4);
const other = createSignedClient(service.ec2, await service.user('other'), 1);

async function ask(from: SignedClient, parameters: Parameters): Promise<string> {
  const { status, body } = await from.call(parameters);
  if (status !== 200) throw new Error(body.slice(0, 500));
  return body;
}

async function run(from: SignedClient, token: string, count: number, tags: Parameters): Promise<void> {
  const specification = Object.fromEntries(Object.entries(tags).flatMap(([k, v], i) => [[`TagSpecification.1.Tag.${i + 1}.Key`, k], [`TagSpecification.1.Tag.${i + 1}.Value`, v]]));
  await ask(from, { Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: String(count), MaxCount: String(count), ClientToken: token, 'TagSpecification.1.ResourceType': 'instance', ...specification });
}

/** Groups are named apart, one in three is of production, and the needles lie scattered in groups of one. */
async function fill(): Promise<void> {
  const groups = Math.ceil((INSTANCES - NEEDLES) / GROUP);
  for (let g = 0; g < groups; g++) {
    await run(client, `g-${g}`, Math.min(GROUP, INSTANCES - NEEDLES - g * GROUP), { Name: `worker of group ${g}`, env: g % 3 === 0 ? 'production' : 'test' });
    if (g % Math.ceil(groups / NEEDLES) === 0) await run(client, `n-${g}`, 1, { Name: `head node ${g}`, env: 'heads' });
  }
  await run(other, 'other', 16, { Name: 'other' });
  for (;;) {
    const body = await ask(client, { Action: 'DescribeInstances', 'Filter.1.Name': 'instance-state-name', 'Filter.1.Value.1': 'pending', MaxResults: '5' });
    if (!body.includes('<instanceId>')) return;
  }
}

/** What PostgreSQL's autovacuum does by itself within minutes, for the tables that were just filled. */
async function settle(): Promise<void> {
  const database = await connectPrivate(service.dataDir);
  await database.query('VACUUM (ANALYZE) lease, tag, lease_group');
  await database.end();
}

const found = (body: string): number => body.split('<instanceId>').length - 1;

async function measure(what: string, parameters: Parameters, expected: number, target?: number): Promise<void> {
  const times: number[] = [];
  for (let i = 0; i < (target === undefined ? 3 : ROUNDS); i++) {
    const begun = performance.now();
    const n = found(await ask(client, { Action: 'DescribeInstances', ...parameters }));
    times.push(performance.now() - begun);
    if (n !== expected) throw new Error(`${what}: ${n} instances, not ${expected}`);
  }
  const ms = median(times);
  console.log(`${what.padEnd(46)} ${ms.toFixed(0).padStart(6)} ms for ${expected} instances${target === undefined ? '' : `, target ${target} ms`}`);
  if (target !== undefined && ms > target) process.exitCode = 1;
}

async function searchUntilKilled(): Promise<never> {
  const [[url, credentials]] = await once(process, 'message') as [[string, typeof service.credentials]];
  const from = createSignedClient(url, credentials, 1);
  for (let i = 0; ; i++) {
    await ask(from, { Action: 'DescribeInstances', ...(i % 2 === 0 ? production : heads), MaxResults: String(PAGE) });
    process.send?.(i);
  }
}

async function othersMeanwhile(): Promise<void> {
  const load = fork(process.argv[1] ?? '', [LOAD]);
  let searches = 0;
  load.on('message', () => { searches++; });
  load.send([service.ec2, service.credentials]);
  await once(load, 'message');
  const times: number[] = [];
  for (let i = 0; i < OTHERS; i++) {
    const begun = performance.now();
    await ask(other, i % 2 === 0 ? { Action: 'DescribeInstances' } : { Action: 'DescribeKeyPairs' });
    times.push(performance.now() - begun);
  }
  load.kill();
  await once(load, 'exit');
  const p99 = times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] as number;
  console.log(`other reads meanwhile, beside ${searches} searches: median ${median(times).toFixed(1)} ms, p99 ${p99.toFixed(1)} ms (target ${OTHERS_TARGET_MS} ms)`);
  if (p99 > OTHERS_TARGET_MS) process.exitCode = 1;
}

try {
  await fill();
  console.log(`${INSTANCES} live instances, ${service.rssMb().toFixed(0)} MiB`);
  await measure('exact tag, a page of 1,000, just launched', { ...production, MaxResults: String(PAGE) }, PAGE);
  await settle();
  await measure('exact tag, a page of 1,000', { ...production, MaxResults: String(PAGE) }, PAGE, TARGET_MS);
  await measure('exact tag that 20 have', filter('tag:env', 'heads'), NEEDLES, TARGET_MS);
  await measure('wildcard *ad n* that 20 match', heads, NEEDLES, TARGET_MS);
  // Without a column of its own, so that everything is read.
  await measure('the same 20 by reading everything', filter('tag-value', 'heads'), NEEDLES);
  await othersMeanwhile();
} finally {
  client.close();
  other.close();
  await service.stop();
}
