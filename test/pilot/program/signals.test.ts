/** Signals, in every stage: everything is given back, nobody is waited for in vain. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { SLOT } from './pilot.ts';
import type { Pilot } from './pilot.ts';
import { node, reserved, service, usePilots, waitForCall, withVm, xen } from './rig.ts';

usePilots();

describe('SIGTERM', () => {
  it('P3: while memory is taken: it is back, exit 5, and the service knows', async () => {
    const { xl, config } = xen({ mbPerSecond: 100 });
    const pilot = node.reserve({ credentials: service.credentials, memory: 1000, config });
    await pilot.says('stage reserving');
    await waitForCall(xl, 'mem-set 0 1007m', pilot);
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(xl.state().dom0.target).toBe(2007);
    expect(service.states()).toEqual(['reserved 5', 'unreserving', 'restored']);
    expect(node.left()).toEqual([]);
  });

  it('P4: a slow xl that takes effect after its time: what it did is undone', async () => {
    const { xl, config } = xen({ faults: [{ command: 'mem-set', times: 1, beforeMs: 1500, ignoreTerm: true }] });
    const pilot = node.reserve({ credentials: service.credentials, memory: 512, config });
    await waitForCall(xl, 'mem-set 0 1495m', pilot);
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(xl.state().dom0).toMatchObject({ target: 2007 });
    expect(node.left()).toEqual([]);
  });

  it('before the service has answered: nobody is waited for', async () => {
    service.usual = 'hang';
    const pilot = node.reserve({ credentials: service.credentials, grace: 4 });
    await pilot.says('room is made');
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(node.left()).toEqual([]);
  });

  it('before the credentials came: exit 5, and nothing was touched', async () => {
    const pilot = node.start(['-r', '-m', '1', '-d', '9', '-g', '9', '-i', SLOT, '-p', node.config(), '--credentials', '-']);
    await handlesSignals(pilot);
    pilot.signal('SIGINT');
    expect(await pilot.ended).toBe(5);
    expect(node.left()).toEqual([]);
    expect(service.states()).toEqual([]);
  });

  it('ends a connection with an agent, and not the agent', async () => {
    const pilot = await reserved();
    const control = node.start(['control', '--state', node.agentDir()]);
    await control.says('"hello"');
    control.signal('SIGTERM');
    expect(await control.ended).toBe(5);
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'restored']);
  });

  it('with nothing left to wait for: early-unreserving, then at once the rest', async () => {
    const pilot = await reserved({ grace: 600 });
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'restored']);
    const early = await service.message('early-unreserving');
    expect(early.graceMs).toBeGreaterThan(590_000);
    const { stamps } = await service.message('restored');
    expect(Object.keys(stamps ?? {})).toEqual(['pilot-start', 'reduce-begun', 'reduced', 'notify', 'sigterm', 'restore-begun', 'restored']);
  });

  it('with a VM: the service has the time to end it, and no more is waited than for that (P7)', async () => {
    const pilot = await reserved({ grace: 600, config: { other: { agentconfig: node.obstinate() } } });
    const agent = await withVm();
    pilot.signal('SIGTERM');
    await service.message('early-unreserving');
    expect(await agent.ask({ op: 'remove', id: 'rm-1', lease: 'i-1', generation: 2, deadlineMs: 10_000, graceMs: 0 })).toMatchObject({ ok: true });
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'restored']);
  });

  it('with a VM that nobody ends: after its part of the grace the pilot does', async () => {
    const pilot = await reserved({ grace: 12, config: { other: { agentconfig: node.obstinate() } } });
    await withVm();
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'killed', 'restored']);
  });

  it('with guests that obey: they power down, and no more is waited than for that', async () => {
    const pilot = await reserved({ grace: 1200 });
    await withVm();
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'restored']);
  });

  it('twice: the wait is cut short, nothing is left', async () => {
    const pilot = await reserved({ grace: 1200, config: { other: { agentconfig: node.obstinate() } } });
    await withVm();
    pilot.signal('SIGTERM');
    await service.message('early-unreserving');
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'killed', 'restored']);
    expect(node.left()).toEqual([]);
  });

  it('while the node is given back: that goes on to its end', async () => {
    const { xl, config: sections } = xen({ mbPerSecond: 400 });
    const config = { ...sections, other: { agentconfig: node.obstinate() } };
    const pilot = await reserved({ memory: 512, config });
    service.usual = 'release';
    await withVm();
    pilot.signal('SIGTERM');
    await pilot.says('stage unreserving');
    pilot.signal('SIGTERM');
    pilot.signal('SIGINT');
    expect(await pilot.ended).toBe(5);
    expect(xl.state().dom0.target).toBe(2007);
    expect(node.left()).toEqual([]);
  });

  it('when memory does not come back: exit 6, the service knows, and the state stays for --recover', async () => {
    const { xl, config } = xen();
    const pilot = await reserved({ memory: 512, config, grace: 1 });
    xl.change({ faults: [{ command: 'mem-set', status: 1, words: 'libxl: no' }] });
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(6);
    expect((await service.message('restored')).code).not.toBe(0);
    expect(node.left()).toEqual([`${SLOT}.node7`]);
    xl.change({ faults: [] });
    const recovery = node.start(['--recover', '-p', node.config(config)]);
    expect(await recovery.ended).toBe(0);
    expect(xl.state().dom0.target).toBe(2007);
    expect(node.left()).toEqual([]);
  });
});

/** Resolves when the program catches signals: SIGHUP is the last that it asks for (proc(5), SigCgt; Node catches others from the start). */
async function handlesSignals(pilot: Pilot): Promise<void> {
  const caught = (): bigint => BigInt(`0x${/^SigCgt:\s*([0-9a-f]+)/m.exec(readFileSync(`/proc/${pilot.pid}/status`, 'utf8'))?.[1] ?? '0'}`);
  while ((caught() & 1n) === 0n) await new Promise((resolve) => setTimeout(resolve, 5));
}
