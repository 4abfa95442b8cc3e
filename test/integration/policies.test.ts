/** The built service as a site runs it: policies from the command line to EC2 clients, a module that decides, a sink, and kill -9. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Explanation, UsageSinkView } from '../../src/manager/admin-types.ts';
import { askAs, newUser, type Ask } from '../support/query.ts';
import { startServe, type Serve } from '../support/serve.ts';

const SINK = fileURLToPath(new URL('../../etc/examples/sink.mjs', import.meta.url));
let root: string;
let serve: Serve | undefined;
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'policies-')); });
afterEach(async () => {
  await serve?.stop();
  serve = undefined;
  rmSync(root, { recursive: true, force: true });
});

const site = (more = ''): string => `
[[local_nodes]]
name = "n1"
driver = "simulated"
memory_mb = 8192
cores = 32
${more}`;
const run = (ask: Ask, count: string, more: Record<string, string> = {}) => ask({ Action: 'RunInstances', ImageId: 'nimbus-guest', InstanceType: 'm1.small', MinCount: count, MaxCount: count, ...more });

it('a policy reaches EC2 clients with its reasons, outlives kill -9, and a change needs no restart', { timeout: 120_000 }, async () => {
  serve = await startServe(site(), root);
  const keys = await newUser(serve, 'alice');
  await serve.admin('policy', 'set', 'students', 'leases=3', 'types=m1.small');
  await serve.admin('policy', 'assign', 'students', 'alice');
  expect((await run(askAs(serve, keys), '2', { ClientToken: 'first' })).status).toBe(200);
  await serve.kill();
  serve = await startServe(site(), root);
  const ask = askAs(serve, keys);
  const refused = await run(ask, '2');
  expect(refused).toMatchObject({ status: 400, code: 'InstanceLimitExceeded', message: 'These leases are not within the policy students (policy students: leases: limit 3, used 2, asked 2)' });
  expect(await run(ask, '1', { InstanceType: 'm1.large' })).toMatchObject({ code: 'UnauthorizedOperation' });
  expect(await serve.admin<Explanation>('policy', 'explain', 'alice', '--count', '2')).toMatchObject({ allowed: false });
  await serve.admin('policy', 'set', 'students', 'leases=4');
  expect((await run(ask, '2')).status).toBe(200);
  expect((await run(ask, '2', { ClientToken: 'first' })).status).toBe(200);
  expect((await run(ask, '1')).status).toBe(400);
});

it('a module decides, and the example of a sink is told of what was granted', { timeout: 120_000 }, async () => {
  const events = join(root, 'usage.jsonl');
  const [decide, sink] = [join(root, 'decide.mjs'), join(root, 'sink.mjs')];
  writeFileSync(decide, 'export const decide = (r) => (r.kind === "create" && r.requests[0].tags.project === undefined ? { allow: false, reasons: ["say what it is for"] } : { allow: true });');
  writeFileSync(sink, readFileSync(SINK, 'utf8').replace("process.env.USAGE_EVENTS_FILE ?? '/var/lib/nimbus/usage-events.jsonl'", JSON.stringify(events)));
  serve = await startServe(site(`[authorization]\nmodule = ${JSON.stringify(decide)}\n[usage_sinks.file]\nmodule = ${JSON.stringify(sink)}\n`), root);
  const ask = askAs(serve, await newUser(serve, 'alice'));
  expect(await run(ask, '1')).toMatchObject({ code: 'UnauthorizedOperation', message: 'The site refuses this request (site decision: say what it is for)' });
  expect((await run(ask, '1', { 'TagSpecification.1.ResourceType': 'instance', 'TagSpecification.1.Tag.1.Key': 'project', 'TagSpecification.1.Tag.1.Value': 'x' })).status).toBe(200);
  for (let told = 0; told < 2;) told = (await serve.admin<UsageSinkView[]>('usage', 'sinks'))[0]?.delivered ?? 0;
  const kinds = readFileSync(events, 'utf8').trim().split('\n').map((l) => (JSON.parse(l) as { kind: string }).kind);
  expect(kinds.slice(0, 2)).toEqual(['record-opened', 'interval-opened']);
});

it('a module that cannot be loaded is a mistake of the configuration', { timeout: 60_000 }, async () => {
  writeFileSync(join(root, 'decide.mjs'), 'export const other = 1;');
  await expect(startServe(site(`[authorization]\nmodule = ${JSON.stringify(join(root, 'decide.mjs'))}\n`), root)).rejects.toThrow(/authorization\.module = ".*decide\.mjs" cannot be used: .* it exports no function called decide/);
});
