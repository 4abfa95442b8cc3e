/** The built service as a site runs it: policies from the command line to EC2 clients, a module that decides, a sink, and kill -9. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Explanation, UsageSinkView } from '../../src/manager/admin-types.ts';
import { askAs, newUser, type Ask } from '../support/query.ts';
import { NIMBUS, startServe, type Serve } from '../support/serve.ts';

const SINK = fileURLToPath(new URL('../../etc/examples/sink.mjs', import.meta.url));
let root: string;
let serve: Serve | undefined;
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'policies-')); });
afterEach(async () => {
  await serve?.stop();
  serve = undefined;
  rmSync(root, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
});

const site = (more = ''): string => `
[[local_nodes]]
name = "n1"
driver = "simulated"
memory_mb = 8192
cores = 32
${more}`;
const run = (ask: Ask, count: string, more: Record<string, string> = {}) => ask({ Action: 'RunInstances', ImageId: 'nimbus-guest', InstanceType: 'm1.small', MinCount: count, MaxCount: count, ...more });

it('a policy reaches EC2 clients with its reasons, outlives kill -9, and a change needs no restart', { timeout: 360_000 }, async () => {
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

it('a module decides, and the example of a sink is told of what was granted', { timeout: 360_000 }, async () => {
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

it('a URL decides: asked with the site’s token, obeyed, and without an answer nothing is granted', { timeout: 360_000 }, async () => {
  const asked: Array<{ token: string | undefined; body: { kind: string; user: { name: string }; requests: Array<{ type: string; cores: number }> } }> = [];
  let status = 200;
  const decider = createServer((req, res) => {
    void text(req).then((body) => {
      const question = JSON.parse(body) as (typeof asked)[number]['body'];
      asked.push({ token: req.headers.authorization, body: question });
      const large = question.requests.some((r) => r.cores > 1);
      res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(large ? { allow: false, reasons: ['one core each'] } : { allow: true }));
    });
  }).listen(0, '127.0.0.1');
  await once(decider, 'listening');
  try {
    writeFileSync(join(root, 'token'), 'of-the-site\n');
    serve = await startServe(site(`[authorization]\nurl = "http://127.0.0.1:${(decider.address() as AddressInfo).port}/decide"\ntoken_file = ${JSON.stringify(join(root, 'token'))}\n`), root);
    const ask = askAs(serve, await newUser(serve, 'alice'));
    expect((await run(ask, '2')).status).toBe(200);
    expect(asked).toEqual([{ token: 'Bearer of-the-site', body: expect.objectContaining({ kind: 'create', user: expect.objectContaining({ name: 'alice' }), requests: [expect.objectContaining({ type: 'm1.small', cores: 1 })] }) }]);
    expect(await run(ask, '1', { InstanceType: 'm1.large' })).toMatchObject({ code: 'UnauthorizedOperation', message: 'The site refuses this request (site decision: one core each)' });
    status = 500;
    expect(await run(ask, '1')).toMatchObject({ status: 503, message: expect.stringContaining('its answer could not be had') });
    await expect.poll(() => serve?.log(), { timeout: 60_000 }).toContain('it answered with status 500');
    expect(await serve.admin<unknown[]>('lease', 'list')).toHaveLength(2);
  } finally {
    decider.close();
    decider.closeAllConnections();
  }
});

it('a module that cannot be loaded is a mistake of the configuration: exit code 2, and one sentence', { timeout: 600_000 }, () => {
  const [config, decide] = [join(root, 'nimbus.toml'), join(root, 'decide.mjs')];
  writeFileSync(config, `${site(`[authorization]\nmodule = ${JSON.stringify(decide)}\n`)}[ec2]\nlisten = "127.0.0.1:0"\n[monitoring]\nlisten = ""\n[log]\nfile = ${JSON.stringify(join(root, 'service.log'))}\n`);
  const start = (): { status: number | null; stderr: string } => {
    const { status, stderr } = spawnSync(process.execPath, [NIMBUS, 'serve', '--config', config, '--data', join(root, 'data')], { encoding: 'utf8', timeout: 240_000 });
    return { status, stderr };
  };
  for (const [module, why] of [['export const other = 1;', 'it exports no function called decide'], ['export const decide = (', 'SyntaxError|Unexpected'], ['throw new Error("no licence");', 'no licence']] as const) {
    writeFileSync(decide, module);
    const { status, stderr } = start();
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringMatching(new RegExp(`^nimbus: authorization\\.module = "${decide}" cannot be used: [^\\n]*(${why})[^\\n]*\\n$`)) });
  }
});
