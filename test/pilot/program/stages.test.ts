/** The pilot's way: whatever the service and the node do, the node is given back, and in time. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SLOT } from './pilot.ts';
import type { Sections } from './pilot.ts';
import { node, reserved, service, usePilots, withVm, xen } from './rig.ts';
import { OriginalSite, Service } from './service.ts';

usePilots();

describe('the way without trouble', () => {
  it('reserves, says so with what the service needs, and gives the node back when its time is over', async () => {
    const pilot = node.reserve({ credentials: service.credentials, duration: 5, memory: 96, args: ['--part', '3'] });
    expect(await pilot.ended).toBe(0);
    expect(service.states()).toEqual(['reserved', 'unreserving', 'restored']);
    const [first] = service.notifications;
    expect(first).toMatchObject({ v: 2, slot: SLOT, host: 'node7', part: 3, pilot: expect.stringMatching(/^[0-9a-f]{16}$/) as string });
    const { reserved: facts, stamps, seq } = await service.message('reserved');
    expect(seq).toBe(1);
    expect(facts).toMatchObject({ memoryMb: 96, version: '1.2.3', agent: { stateDir: node.agentDir(), user: expect.any(String) as string } });
    expect(Object.keys(stamps ?? {})).toEqual(['pilot-start', 'reduce-begun', 'reduced', 'notify']);
    expect(Math.abs((facts?.until ?? 0) - (stamps?.['pilot-start'] ?? 0) - 5000)).toBeLessThanOrEqual(5);
    expect(Object.keys((await service.message('restored')).stamps ?? {})).toContain('restored');
    expect(node.left()).toEqual([]);
    expect(node.log()).not.toMatch(/ (WARN|ERROR) /);
  });

  it('goes when the service says release in an answer', async () => {
    const pilot = node.reserve({ credentials: service.credentials });
    service.usual = 'release';
    expect(await pilot.ended).toBe(0);
    expect(service.states()).toEqual(['reserved', 'unreserving', 'restored']);
    expect(node.left()).toEqual([]);
  });

  it('goes when the service says release to the agent', async () => {
    const pilot = await reserved({ config: { other: { agentconfig: node.obstinate() } } });
    const agent = await withVm();
    expect(await agent.ask({ op: 'release', id: 'r-1', deadlineMs: 60_000, why: 'the lease is over' })).toMatchObject({ ok: true, result: { releasing: true } });
    expect(await pilot.ended).toBe(0);
    expect(service.states()).toEqual(['reserved', 'unreserving', 'killed', 'restored']);
    expect((await service.message('killed')).names).toEqual(['i-1']);
    expect((await service.message('unreserving')).text).toContain('the lease is over');
  });

  it('works without anybody to tell', async () => {
    const pilot = node.reserve();
    await pilot.says('room is made');
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(node.left()).toEqual([]);
  });

  it('sends a sign of life when there is nothing else to say', async () => {
    const pilot = node.reserve({ credentials: service.credentials, config: { other: { heartbeat: 1 } } });
    await service.message('alive');
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
  });

  it('takes memory from dom0 and gives it back', async () => {
    const { xl, config } = xen();
    const pilot = await reserved({ memory: 512, config });
    expect(xl.state().dom0.target).toBe(2007 - 512);
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(xl.state().dom0.target).toBe(2007);
  });
});

describe('a service that is not there, or does not answer', () => {
  it('P1: unreachable at "reserved": the node is given back, exit 4', async () => {
    const { xl, config } = xen();
    await service.stop();
    const pilot = node.reserve({ credentials: service.credentials, memory: 512, config: { ...config, other: { reservewait: 1 } } });
    expect(await pilot.ended).toBe(4);
    expect(xl.calls().filter((c) => c.startsWith('mem-set'))).toEqual(['mem-set 0 1495m', 'mem-set 0 2007m']);
    expect(xl.state().dom0.target).toBe(2007);
    expect(node.left()).toEqual([]);
  });

  it('P1: in the original form too', async () => {
    const { xl, config } = xen();
    await service.stop();
    const pilot = node.reserve({ args: ['--contact', service.wire.url], memory: 512, config: { ...config, http: { account: 'a', secret: 'b' }, other: { reservewait: 1 } } });
    expect(await pilot.ended).toBe(4);
    expect(xl.state().dom0.target).toBe(2007);
  });

  it('P2: accepts and never answers the early message: VMs ended and memory back within the grace', async () => {
    const { xl, config: sections } = xen();
    const config = { ...sections, other: { agentconfig: node.obstinate() } };
    const grace = 24;
    const pilot = await reserved({ memory: 512, config, grace });
    await withVm();
    service.usual = 'hang';
    const begun = performance.now();
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    // What comes after the grace is SIGKILL: here the time is the requirement itself.
    expect(performance.now() - begun).toBeLessThan(grace * 1000);
    expect(xl.state().dom0.target).toBe(2007);
    expect(node.left()).toEqual([]);
  });

  it.each(['reserved', 'unreserving', 'restored'] as const)('never answers at "%s": the node is given back', async (state) => {
    service.rule = ({ messages }) => (messages.some((m) => m.state === state) ? 'hang' : undefined);
    const pilot = node.reserve({ credentials: service.credentials, duration: 5, grace: 2, config: { other: { reservewait: state === 'reserved' ? 1 : 20 } } });
    expect(await pilot.ended).toBe(state === 'reserved' ? 4 : 0);
    expect(node.left()).toEqual([]);
  });

  it('is heard of again: what happened while it was down arrives, once and in order (P13)', async () => {
    const pilot = await reserved({ grace: 20, config: { other: { agentconfig: node.obstinate() } } });
    await withVm('i-9');
    await service.stop();
    pilot.signal('SIGTERM');
    await pilot.says('the service was not told');
    await service.start();
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'killed', 'restored']);
    expect(service.messages.map((m) => m.seq)).toEqual([1, 2, 3, 4, 5]);
    expect(new Set(service.messages.map((m) => m.id)).size).toBe(5);
  });

  it.each([
    ['cuts the connection', 'cut'],
    ['is busy', { status: 429 }],
    ['is not itself', { status: 503, body: 'not json' }],
    ['says nothing that can be read', { status: 200, body: '<html>' }],
    ['acknowledges nothing', { status: 200, body: '{"ack":[],"at":1,"do":"stay"}' }],
    ['saw this counter', { status: 409 }],
  ] as const)('%s: it is asked again', async (_, behaviour) => {
    service.next.push(behaviour, behaviour);
    const pilot = await reserved({ duration: 600 });
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'restored']);
  });
});

describe('a service that refuses', () => {
  it.each([[401, 4], [403, 4], [410, 0]])('%i at "reserved": the node is given back, exit %i', async (status, exit) => {
    service.usual = { status, body: JSON.stringify({ error: { code: 'Refused', message: 'no such slot' } }) };
    const pilot = node.reserve({ credentials: service.credentials });
    expect(await pilot.ended).toBe(exit);
    expect(node.left()).toEqual([]);
    expect(pilot.output).toContain('no such slot');
  });

  it.each([[403, 4], [410, 0]])('%i later: the node is given back, exit %i', async (status, exit) => {
    const pilot = await reserved({ config: { other: { heartbeat: 1 } } });
    service.usual = { status };
    expect(await pilot.ended).toBe(exit);
    expect(node.left()).toEqual([]);
  });

  it('400: that message is given up, and a reservation that was not taken is none', async () => {
    service.usual = { status: 400 };
    const pilot = node.reserve({ credentials: service.credentials });
    expect(await pilot.ended).toBe(4);
    expect(node.left()).toEqual([]);
  });
});

describe('a node that has not what it takes', () => {
  it('too little memory: says so, exit 4, nothing taken', async () => {
    const { xl, config } = xen();
    const pilot = node.reserve({ credentials: service.credentials, memory: 1900, config });
    expect(await pilot.ended).toBe(4);
    expect(xl.calls().filter((c) => c.startsWith('mem-set'))).toEqual([]);
    expect(service.states()).toEqual(['reserved 4', 'unreserving', 'restored']);
    expect((await service.message('reserved')).text).toMatch(/minmem|256/);
  });

  it('another pilot: says which, exit 4, and the first goes on', async () => {
    const first = await reserved();
    const second = new Service('sl-ffffffffffff');
    await second.start();
    const conf = node.config();
    const late = node.start(['-r', '-m', '1', '-d', '60', '-g', '9', '-i', 'sl-ffffffffffff', '-p', conf, '--credentials', '-'], `${JSON.stringify(second.credentials)}\n`);
    expect(await late.ended).toBe(4);
    expect((await second.message('reserved')).text).toContain(SLOT);
    await second.stop();
    expect(node.left()).toEqual([`${SLOT}.node7`]);
    first.signal('SIGTERM');
    expect(await first.ended).toBe(5);
  });

  it('a configuration with mistakes: lists every one, tells the service, exit 2', async () => {
    const pilot = node.reserve({ credentials: service.credentials, config: { memory: { mechanism: 'magic' }, other: { earlywaitratio: 1.5, heartbeat: 0 } } });
    expect(await pilot.ended).toBe(2);
    for (const key of ['mechanism', 'earlywaitratio', 'heartbeat']) expect(pilot.stderr).toContain(key);
    expect(service.states()).toEqual(['reserved 2', 'restored']);
  });
});

describe('a pilot that is broken itself', () => {
  it('a mistake anywhere: memory is back, nothing is left, exit 42', async () => {
    const { xl, config } = xen();
    const trap = join(node.root, 'trap.cjs');
    writeFileSync(trap, "process.on('SIGUSR2', () => { throw new Error('out of the blue'); });");
    const pilot = node.reserve({ credentials: service.credentials, memory: 512, config, env: { NODE_OPTIONS: `--require ${trap}` } });
    await pilot.says('the service knows');
    pilot.signal('SIGUSR2');
    expect(await pilot.ended).toBe(42);
    expect(pilot.stderr).toContain('out of the blue');
    expect(service.states()).toEqual(['reserved', 'unreserving', 'restored']);
    expect(xl.state().dom0.target).toBe(2007);
    expect(node.left()).toEqual([]);
  });

  it('an agent that ends by itself: the node is given back, exit 4', async () => {
    const pilot = await reserved();
    const agent = await withVm();
    agent.send({ retire: '99.0.0' });
    expect(await pilot.ended).toBe(4);
    expect(service.states()).toEqual(['reserved', 'unreserving', 'killed', 'restored']);
    expect(node.left()).toEqual([]);
  });
});

describe('a node without QEMU', () => {
  const without = (driver: string): Sections => {
    const file = join(node.root, 'agent-without.json');
    writeFileSync(file, JSON.stringify({ qemu: { programs: { qemu: '/nowhere/qemu' } } }));
    return { other: { driver, agentconfig: file } };
  };
  const how = /\/nowhere\/qemu is not installed on this node.*apt-get install qemu-system-x86.*driver: simulated/s;

  it.each(['auto', 'qemu'])('driver %s: its node is not reserved, it says how to mend that, exit 3', async (driver) => {
    const pilot = node.reserve({ credentials: service.credentials, config: without(driver) });
    expect(await pilot.ended).toBe(3);
    const said = await service.message('reserved');
    expect([said.code, said.text]).toEqual([3, expect.stringMatching(how)]);
    expect(service.states()).toEqual(['reserved 3', 'unreserving', 'restored']);
    expect(node.left()).toEqual([]);
  });

  it('a dry run says so', async () => {
    const pilot = node.reserve({ config: without('auto'), args: ['--evaluate'] });
    expect(await pilot.ended).toBe(3);
    expect(pilot.output).toMatch(how);
  });

  it('driver simulated: nothing is lacking', async () => {
    const pilot = node.reserve({ config: without('simulated'), args: ['--evaluate'] });
    expect(await pilot.ended).toBe(0);
  });
});

describe('P5: a dry run', () => {
  it('with credentials sends a test message and changes nothing', async () => {
    const pilot = node.reserve({ credentials: service.credentials, args: ['--evaluate'] });
    expect(await pilot.ended).toBe(0);
    expect(service.states()).toEqual(['test']);
    expect(node.left()).toEqual([]);
  });

  it('with the contact of an original service', async () => {
    const site = new OriginalSite();
    await site.wire.start();
    const pilot = node.reserve({ args: ['--evaluate', '--contact', site.wire.url], config: { http: { account: site.account, secret: site.secret } } });
    expect(await pilot.ended).toBe(0);
    expect(site.bodies).toEqual([`${SLOT}+++node7\npilot-test\n0\n`]);
    await site.wire.stop();
  });

  it('says that the service is not reached, exit 3', async () => {
    await service.stop();
    const pilot = node.reserve({ credentials: service.credentials, grace: 1, args: ['--evaluate'] });
    expect(await pilot.ended).toBe(3);
    expect(pilot.output).toContain('WRONG');
  });
});

describe('P6: words', () => {
  it('bubble_mem: no leaves memory alone; anything else takes it', async () => {
    const { xl, config } = xen();
    const left = await reserved({ memory: 512, config: { ...config, xen: { ...config['xen'], bubble_mem: 'no' } } });
    left.signal('SIGTERM');
    expect(await left.ended).toBe(5);
    expect(xl.calls().filter((c) => c.startsWith('mem-set'))).toEqual([]);
    service.messages.length = 0;
    const taken = node.reserve({ credentials: service.credentials, memory: 512, config: { ...config, xen: { ...config['xen'], bubble_mem: 'yes' } } });
    await taken.says('the service knows');
    expect(xl.state().dom0.target).toBe(2007 - 512);
    taken.signal('SIGTERM');
    expect(await taken.ended).toBe(5);
    expect(taken.output).not.toMatch(/bubbl/i);
  });
});
