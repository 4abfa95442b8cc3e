/** The client and the real agent, through pipes and through sshd. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createTransports } from '../../../src/control/client/transports.ts';
import type { AgentRequest, ImageRef } from '../../../src/control/protocol.ts';
import { installIdentities } from '../../../src/control/ssh/identities.ts';
import { installNode } from '../../../src/control/ssh/install.ts';
import { operatingKey } from '../../../src/control/ssh/keys.ts';
import type { NodeRef } from '../../../src/control/types.ts';
import { sshdSet, type SshdSet } from '../../fixtures/sshd.ts';
import { hasPart } from '../../parts.ts';
import { bundle } from '../agent/program.ts';
import { collect, ctx, imageOf, isDown, isUp, listRequest, nodeRef, startRequest, watched, type Watched } from './setup.ts';

const bytes = Buffer.alloc(2_000_000, 'a guest');
const image: ImageRef = imageOf(bytes);

let dir: string;
let program: string;
const open: Watched[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'nimbus agents '));
  program = await bundle(dir);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((w) => w.client.close()));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let nodes = 0;
const localNode = (): NodeRef => {
  nodes += 1;
  return nodeRef(nodes, { transport: 'local', stateDir: join(dir, `node ${nodes}`), driver: 'simulated', agentConfig: { simulated: { startMs: 0, stopMs: 0 } } });
};
const over = (refs: readonly NodeRef[], options: { privateKeyFile?: string; silenceMs?: number } = {}): Watched => {
  const w = watched(ctx, {
    transport: createTransports(ctx, { agentProgram: program, privateKeyFile: options.privateKeyFile ?? '/nonexistent' }),
    silenceMs: options.silenceMs ?? 10_000,
    imageSource: async function* () { yield bytes; },
  });
  w.client.setNodes(refs);
  open.push(w);
  return w;
};
const pidOf = (w: Watched, nodeId: number): number => w.client.state(nodeId).hello?.pid ?? 0;

test('an agent beside the service: image sent, VM started, seen after the agent was killed', async () => {
  const node = localNode();
  const w = over([node]);
  await w.when(node.id, isUp);
  const start = startRequest(image);
  expect(await collect(w.client, [{ nodeId: node.id, requests: [start] }])).toMatchObject([{ done: { ok: true, result: { vm: { state: 'running' } } } }]);
  const down = w.when(node.id, isDown);
  process.kill(pidOf(w, node.id), 'SIGKILL');
  expect((await down).reason).toBe('the agent was ended by SIGKILL');
  await w.when(node.id, isUp);
  expect(await w.client.ask(node.id, listRequest())).toMatchObject({ result: { vms: [{ state: 'running', image: expect.any(String) as string }] } });
});

test('an agent that hangs is reported as silent, ended and replaced; its VMs stay', async () => {
  const node = localNode();
  const w = over([node], { silenceMs: 3000 });
  await w.when(node.id, isUp);
  await collect(w.client, [{ nodeId: node.id, requests: [startRequest(image)] }]);
  const hung = pidOf(w, node.id);
  const down = w.when(node.id, isDown);
  process.kill(hung, 'SIGSTOP');
  expect((await down).reason).toBe('silent for 3000 ms');
  await w.when(node.id, isUp);
  expect(pidOf(w, node.id)).not.toBe(hung);
  expect(await w.client.ask(node.id, listRequest())).toMatchObject({ result: { vms: [{ state: 'running' }] } });
});

test('the agent lives in a session of its own and knows nothing of the service’s secrets', async () => {
  process.env['NIMBUS_TEST_SECRET'] = 'secret';
  const node = localNode();
  const w = over([node]);
  await w.when(node.id, isUp);
  delete process.env['NIMBUS_TEST_SECRET'];
  const pid = pidOf(w, node.id);
  const [, , group, session] = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  expect([group, session]).toEqual([String(pid), String(pid)]);
  expect(readFileSync(`/proc/${pid}/environ`, 'utf8')).not.toContain('secret');
});

test('an agent that cannot start says why', async () => {
  const stateDir = join(dir, 'open to all');
  mkdirSync(stateDir);
  const settings = { transport: 'local' as const, stateDir, driver: 'simulated' as const, agentConfig: { nonsense: 1 } };
  const w = over([nodeRef(900, settings)]);
  expect((await w.when(900, isDown)).reason).toMatch(/the agent exited with code 2: .*unknown key/);
  expect(statSync(join(stateDir, 'agent.json')).mode & 0o777).toBe(0o600);
});

test('closing the client ends its agents', async () => {
  const refs = [localNode(), localNode()];
  const w = over(refs);
  await Promise.all(refs.map((r) => w.when(r.id, isUp)));
  const pids = refs.map((r) => pidOf(w, r.id));
  await w.client.close();
  expect(pids.filter((p) => existsSync(`/proc/${p}`) && !readFileSync(`/proc/${p}/stat`, 'utf8').includes(') Z '))).toEqual([]);
});

test('a group of 64 starts on four nodes is answered whole', async () => {
  const refs = [localNode(), localNode(), localNode(), localNode()];
  const w = over(refs);
  await Promise.all(refs.map((r) => w.when(r.id, isUp)));
  const calls = refs.map((r) => ({ nodeId: r.id, requests: Array.from({ length: 16 }, (): AgentRequest => startRequest(image)) }));
  const answers = await collect(w.client, calls);
  expect(answers).toHaveLength(64);
  expect(answers.filter((a) => 'done' in a && a.done.ok)).toHaveLength(64);
});

describe.skipIf(!hasPart('sshd'))('installed over SSH', () => {
  let set: SshdSet;
  beforeAll(() => { set = sshdSet(); });
  afterAll(() => set.close());

  test('the installed agent takes an image, runs a VM; a newer one replaces it and the VM is still there', async () => {
    const sshd = await set.make();
    const admin = set.key('admin');
    writeFileSync(sshd.authorizedKeys, `${admin.publicLine}\n`);
    const operating = operatingKey(join(set.dir, 'keys'));
    const install = async (agentProgram: string): ReturnType<typeof installNode> => installNode(ctx, {
      target: { host: sshd.host, port: sshd.port, user: sshd.user }, trust: { hostKey: sshd.hostKey },
      identities: await installIdentities({ installKey: admin.privateFile, home: '/nonexistent' }),
      operatingPublicLine: operating.publicLine, operatingKeyFile: operating.privateFile, agentProgram, driver: 'simulated',
    });
    const report = await install(program);
    expect(report).toMatchObject({ missing: [], status: { driver: 'simulated', vms: 0 } });
    expect(report.command.slice(2)).toEqual(['serve', '--state', join(sshd.home, '.nimbus', 'control'), '--driver', 'simulated']);

    const w = over([nodeRef(800, report.access)], { privateKeyFile: operating.privateFile });
    await w.when(800, isUp);
    expect(await collect(w.client, [{ nodeId: 800, requests: [startRequest(image)] }])).toMatchObject([{ done: { ok: true, result: { vm: { state: 'running' } } } }]);
    const down = w.when(800, isDown);
    expect(await install(await bundle(dir, '9.9.9'))).toMatchObject({ missing: [], status: { vms: 1 } });
    await down;
    const upgraded = await w.when(800, isUp);
    expect(upgraded.hello?.version).toBe('9.9.9');
    expect(await w.client.ask(800, listRequest())).toMatchObject({ result: { vms: [{ state: 'running' }] } });
  });
});
