/** Agents as processes: who holds a directory, who passes on, what happens when one dies or is replaced. */
import { createHash, randomBytes } from 'node:crypto';
import { appendFileSync, chmodSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MAX_LINE, PUT_CHUNK } from '../../../src/control/protocol.ts';
import { Agent, bundle, killAgents, serveArgs } from './program.ts';
import { codeOf, leaseOp, makeImage, opId, scratch, start, vmOf } from './rig.ts';

let programs: ReturnType<typeof scratch>;
let tmp: ReturnType<typeof scratch>;
let program = '';
let state = '';
beforeAll(async () => {
  programs = scratch();
  program = await bundle(programs.dir);
});
afterAll(() => programs.remove());
beforeEach(() => {
  tmp = scratch();
  state = join(tmp.dir, 'state');
});
afterEach(async () => {
  await killAgents();
  tmp.remove();
});

const LEASE = 'i-0123456789abcdef0';
const serve = (config?: Record<string, unknown>, from = program): Agent => new Agent(from, serveArgs(state, config));
const bye = (agent: Agent): Promise<string> => agent.wait((line) => ('bye' in line ? line.bye : undefined));

describe('one agent', () => {
  it('greets, serves, and ends with its service; its VMs stay', async () => {
    const agent = serve();
    expect(await agent.open()).toMatchObject({ program: 'workspace-control', version: '1.0.0', protocols: [1, 2], driver: 'simulated' });
    expect(vmOf(await agent.ask(start(LEASE, 1, makeImage(tmp.dir)))).state).toBe('running');
    expect(statSync(state).mode & 0o777).toBe(0o700);
    expect(statSync(join(state, 'agent.sock')).mode & 0o777).toBe(0o600);
    expect(await agent.leave()).toBe(0);
    const next = serve();
    await next.open();
    expect(vmOf(await next.ask({ op: 'info', id: opId(), lease: LEASE, deadlineMs: 60_000 }))).toMatchObject({ state: 'running', generation: 1 });
    expect(await next.leave()).toBe(0);
  });

  it('starts a group of 64 with one message: one acknowledgement, few lines', async () => {
    const agent = serve();
    await agent.open();
    const image = makeImage(tmp.dir);
    const requests = Array.from({ length: 64 }, (_, i) => start(`i-${i}`, 1, image));
    agent.send({ do: requests });
    const dones = await Promise.all(requests.map((r) => agent.answer(r.id)));
    expect(dones.map(codeOf)).toEqual(dones.map(() => 'ok'));
    expect(agent.lines.flatMap((l) => ('ack' in l ? [...l.ack] : []))).toEqual(requests.map((r) => r.id));
    expect(agent.lines.filter((l) => 'ack' in l)).toHaveLength(1);
    expect(agent.lines.filter((l) => 'done' in l).length).toBeLessThan(16);
  });

  it('speaks protocol 1: one request, one result, no images', async () => {
    const agent = serve();
    await agent.open(1);
    const request = start(LEASE, 1, makeImage(tmp.dir));
    agent.send({ do: request });
    expect(codeOf(await agent.answer(request.id))).toBe('ok');
    expect(agent.lines.filter((l) => 'done' in l).every((l) => 'done' in l && !Array.isArray(l.done))).toBe(true);
    agent.send({ put: { sha256: 'a'.repeat(64), seq: 0, data: '', total: 1, last: true } });
    expect(await bye(agent)).toContain('BadRequest');
    expect(await agent.ended).toBe(0);
  });

  it('takes an image in chunks and starts from it', async () => {
    const agent = serve();
    await agent.open();
    const data = randomBytes(PUT_CHUNK * 2 + 500);
    const sha256 = createHash('sha256').update(data).digest('hex');
    const request = start(LEASE, 1, { id: 'ami-1', sha256, format: 'raw', sizeBytes: data.length });
    expect(codeOf(await agent.ask(request))).toBe('ImageMissing');
    for (let seq = 0; seq < 3; seq++) {
      const chunk = data.subarray(seq * PUT_CHUNK, (seq + 1) * PUT_CHUNK);
      agent.send({ put: { sha256, seq, data: chunk.toString('base64'), total: data.length, last: seq === 2 } });
    }
    const complete = await agent.wait((l) => ('put' in l && l.put.complete === true ? l.put : undefined));
    expect(complete).toEqual({ sha256, seq: 2, ok: true, complete: true });
    agent.lines.length = 0;
    expect(codeOf(await agent.ask(request))).toBe('ok');
  });

  it('answers pings, bad requests by their ids, and closes over what it cannot read', async () => {
    const agent = serve();
    await agent.open();
    agent.send({ ping: 7 });
    expect(await agent.wait((l) => ('pong' in l ? l : undefined))).toMatchObject({ pong: 7, at: expect.any(Number) });
    agent.send({ do: [{ op: 'start', id: 'x' }, { op: 'list', id: 'y', deadlineMs: 60_000 }] });
    expect(codeOf(await agent.answer('x'))).toBe('BadRequest');
    expect(codeOf(await agent.answer('y'))).toBe('ok');
    agent.child.stdin.write('{"do":\n');
    expect(await bye(agent)).toContain('BadRequest');
    expect(await agent.ended).toBe(0);
  });

  it('ends the connection of a line without end, and says so', async () => {
    const agent = serve();
    await agent.open();
    agent.child.stdin.write(Buffer.alloc(MAX_LINE + 1, 'x'));
    expect(await bye(agent)).toContain('too long');
    expect(await agent.ended).toBe(0);
  });

  it('tells of a VM that ended by itself', async () => {
    const agent = serve({ simulated: { startMs: 0, stopMs: 0, exits: [{ lease: '', afterMs: 1 }] } });
    await agent.open();
    await agent.ask(start(LEASE, 3, makeImage(tmp.dir)));
    expect(await agent.wait((l) => ('event' in l ? l.event : undefined))).toMatchObject({ kind: 'vm-exited', lease: LEASE, generation: 3 });
  });

  it('is asked for its version through a forced command, and for nothing else', async () => {
    const asked = new Agent(program, serveArgs(state), { ...process.env, SSH_ORIGINAL_COMMAND: 'version' });
    expect(await asked.ended).toBe(0);
    expect(asked.output).toBe('1.0.0\n');
    const other = new Agent(program, serveArgs(state), { ...process.env, SSH_ORIGINAL_COMMAND: 'rm -rf /' });
    expect((await other.open()).version).toBe('1.0.0');
  });
});

describe('several agents on one directory', () => {
  it('share the one that came first, at once or later', async () => {
    const agents = [serve(), serve(), serve()];
    const hellos = await Promise.all(agents.map((a) => a.open()));
    expect(new Set(hellos.map((h) => h.pid)).size).toBe(1);
    const image = makeImage(tmp.dir);
    const dones = await Promise.all(agents.map((a, i) => a.ask(start(`i-${i}`, 1, image))));
    expect(dones.map(codeOf)).toEqual(['ok', 'ok', 'ok']);
    const request = start('i-7', 1, image);
    const [a, b] = await Promise.all([agents[0]?.ask(request), agents[1]?.ask(request)]);
    expect(a).toEqual(b);
    const list = await agents[2]?.ask({ op: 'list', id: opId(), deadlineMs: 60_000 });
    expect(list?.ok === true && 'vms' in list.result ? list.result.vms.length : 0).toBe(4);
  });

  it('the holder stays for those that pass through it when its own service goes', async () => {
    const first = serve();
    const { pid } = await first.open();
    const second = serve();
    await second.open();
    first.child.stdin.end();
    expect(vmOf(await second.ask(start(LEASE, 1, makeImage(tmp.dir)))).state).toBe('running');
    expect(first.child.pid).toBe(pid);
    expect(await second.leave()).toBe(0);
    expect(await first.ended).toBe(0);
  });

  it('when the holder is killed, its relays end with an error and the next agent holds', async () => {
    const first = serve();
    await first.open();
    const relay = serve();
    await relay.open();
    await relay.ask(start(LEASE, 2, makeImage(tmp.dir)));
    await first.kill();
    expect(await relay.ended).toBe(4);
    expect(relay.stderr).toContain('connect again');
    const next = serve();
    expect((await next.open()).pid).toBe(next.child.pid);
    expect(vmOf(await next.ask({ op: 'info', id: opId(), lease: LEASE, deadlineMs: 60_000 })).state).toBe('running');
    expect(codeOf(await next.ask(leaseOp('remove', LEASE, 1)))).toBe('StaleGeneration');
  });

  it('a newer one replaces an older one, which finishes what runs; VMs are not touched', async () => {
    const image = makeImage(tmp.dir);
    const older = serve({ simulated: { startMs: 300, stopMs: 0 } });
    await older.open();
    const passing = serve();
    await passing.open();
    await older.ask(start('i-1', 1, image));
    const request = start('i-2', 1, image);
    older.send({ do: [request] });
    await older.wait((l) => ('progress' in l && l.progress.phase === 'start-begun' && l.progress.id === request.id ? true : undefined));
    const newer = serve({}, await bundle(programs.dir, '1.1.0-rc.1'));
    expect(await newer.open()).toMatchObject({ version: '1.1.0-rc.1', pid: newer.child.pid });
    expect(codeOf(await older.answer(request.id))).toBe('ok');
    expect(await bye(older)).toContain('1.1.0-rc.1');
    expect(await older.ended).toBe(0);
    expect(await passing.ended).toBe(4);
    const list = await newer.ask({ op: 'list', id: opId(), deadlineMs: 60_000 });
    expect(list).toMatchObject({ ok: true, result: { vms: [{ lease: 'i-1', state: 'running' }, { lease: 'i-2', state: 'running' }] } });
    const equal = serve({}, program);
    expect((await equal.open()).version).toBe('1.1.0-rc.1');
  });

  it('work in a directory whose path is too long for a socket', async () => {
    state = join(tmp.dir, 'd'.repeat(120), 'state');
    mkdirSync(join(tmp.dir, 'd'.repeat(120)));
    const first = serve();
    const second = serve();
    const [a, b] = await Promise.all([first.open(), second.open()]);
    expect(a.pid).toBe(b.pid);
  });
});

describe('the ground it stands on', () => {
  it('leaves a directory alone that others can write', async () => {
    mkdirSync(state, { mode: 0o777 });
    chmodSync(state, 0o777);
    const agent = serve();
    expect(await agent.ended).toBe(3);
    expect(agent.stderr).toContain('chmod go-w');
  });

  it('names every mistake of its configuration', async () => {
    const agent = serve({ cacheMb: -1, colour: 'red' });
    expect(await agent.ended).toBe(2);
    expect(agent.stderr).toMatch(/cacheMb.*colour/);
  });

  it('does not run another driver over recorded VMs', async () => {
    const agent = serve();
    await agent.open();
    await agent.ask(start(LEASE, 1, makeImage(tmp.dir)));
    await agent.leave();
    const other = new Agent(program, ['serve', '--state', state, '--driver', 'qemu']);
    expect(await other.ended).toBe(3);
    expect(other.stderr).toContain('--driver simulated');
    const auto = new Agent(program, ['serve', '--state', state]);
    expect((await auto.open()).driver).toBe('simulated');
  });

  it('reports damaged records and keeps them', async () => {
    const agent = serve();
    await agent.open();
    await agent.ask(start(LEASE, 1, makeImage(tmp.dir)));
    await agent.leave();
    appendFileSync(join(state, 'leases.journal'), 'root:x:0:0\n{"format":1}\n{"lease":"i-2","form');
    const next = serve();
    await next.open();
    const status = await next.ask({ op: 'status', id: opId(), deadlineMs: 60_000 });
    expect(status.ok && 'status' in status.result ? status.result.status : undefined).toMatchObject({
      vms: 1, missing: [expect.stringContaining('leases.journal.damaged')],
    });
    expect(readFileSync(join(state, 'leases.journal.damaged'), 'utf8')).toContain('root:x:0:0');
  });
});
