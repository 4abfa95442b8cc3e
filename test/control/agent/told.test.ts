/** What a guest is told before its end, and a disk that is copied while its VM runs. */
import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { realClock, type Clock } from '../../../src/control/agent/clock.ts';
import type { AgentRequest } from '../../../src/control/protocol.ts';
import { codeOf, leaseOp, makeImage, makeRig, opId, scratch, start, vmOf, type Rig } from './rig.ts';

const LEASE = 'i-1';
let tmp: ReturnType<typeof scratch>;
beforeEach(() => { tmp = scratch(); });
afterEach(() => tmp.remove());

/** A VM that runs. */
async function running(options?: Parameters<typeof makeRig>[1]): Promise<Rig> {
  const rig = await makeRig(tmp.dir, options);
  await rig.ask(start(LEASE, 1, makeImage(tmp.dir)));
  return rig;
}

describe('a removal that its guest is told of', () => {
  const NOTICE = 'Others need the room. {"action": "terminate", "time": "2026-11-29T18:02:00Z"}';
  const told = (graceMs: number): AgentRequest => ({ ...leaseOp('remove', LEASE, 2, opId(), 3_600_000), graceMs, notice: NOTICE }) as AgentRequest;

  it('shows the line before the power button is pressed', async () => {
    const order: string[] = [];
    const rig = await running({
      simulated: { powerDownMs: 1 },
      wrap: (driver) => {
        const { notice, powerDown } = driver;
        return Object.assign(driver, {
          notice: async (...args: Parameters<typeof notice>) => { order.push(args[1]); await notice.apply(driver, args); },
          powerDown: (...args: Parameters<typeof powerDown>) => { order.push('button'); return powerDown.apply(driver, args); },
        });
      },
    });
    expect(vmOf(await rig.ask(told(3_000_000))).state).toBe('removed');
    expect(order).toEqual([NOTICE, 'button']);
    expect(rig.events).toEqual([]);
  });

  it('asks the guest all the same when it cannot be told, and tells nobody who has no time', async () => {
    const rig = await running({ simulated: { powerDownMs: 1, faults: [{ lease: LEASE, op: 'notice' }] } });
    expect(vmOf(await rig.ask(told(3_000_000))).state).toBe('removed');
    await rig.ask(start(LEASE, 3, makeImage(tmp.dir)));
    expect(vmOf(await rig.ask({ ...told(0), id: opId(), generation: 4 } as AgentRequest)).state).toBe('removed');
  });
});

describe('a copied disk', () => {
  const read = (rig: Rig): Promise<string> => rig.vms.readSaved(LEASE, 0, 4096).then(({ totalBytes }) => `${totalBytes} bytes`, (e: Error) => e.message);

  it('is readable while the VM runs on, until something else is asked of it', async () => {
    const rig = await running();
    const request = leaseOp('copy', LEASE, 2);
    expect(vmOf(await rig.ask(request))).toMatchObject({ state: 'running', generation: 2 });
    expect(await read(rig)).toBe('4096 bytes');
    // Its answer is not remembered: what it stands for does not outlive the agent.
    expect(vmOf(await rig.ask(request)).state).toBe('running');
    expect(rig.records.get(LEASE)?.answers.map((d) => d.id)).not.toContain(request.id);
    await rig.ask(leaseOp('reboot', LEASE, 3));
    expect(await read(rig)).toMatch(/no disk of i-1 was saved/);
    expect(codeOf(await rig.ask(leaseOp('copy', LEASE, 2)))).toBe('StaleGeneration');
    rig.vms.close();
  });

  it('is had of a VM that runs only, and what fails leaves it running', async () => {
    const rig = await running({ simulated: { faults: [{ lease: LEASE, op: 'copy', times: 1 }] } });
    expect(codeOf(await rig.ask(leaseOp('copy', LEASE, 2)))).toBe('DriverFailed');
    expect(rig.records.of(LEASE).state).toBe('running');
    await rig.ask(leaseOp('pause', LEASE, 3));
    expect(codeOf(await rig.ask(leaseOp('copy', LEASE, 4)))).toBe('WrongState');
    expect(codeOf(await rig.ask(leaseOp('copy', 'i-2', 1)))).toBe('NoSuchVm');
  });

  it.each(['reboot', 'pause', 'shutdown', 'serialize', 'save', 'remove'] as const)('that is being made is broken off by what is asked meanwhile: %s', async (op) => {
    let begins: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => { begins = resolve; });
    const rig = await running({
      simulated: { faults: [{ lease: LEASE, op: 'copy', hang: true, times: 1 }] },
      wrap: (driver) => {
        const { copy } = driver;
        return Object.assign(driver, { copy: (...args: Parameters<typeof copy>) => { begins(); return copy.apply(driver, args); } });
      },
    });
    const copying = rig.ask(leaseOp('copy', LEASE, 2));
    await begun;
    expect(codeOf(await rig.ask(leaseOp(op, LEASE, 3)))).toBe('ok');
    expect(codeOf(await copying)).toBe('StaleGeneration');
  });

  it('that is being made keeps nobody waiting who asks of an older state, and is made', async () => {
    const rig = await running();
    const copying = rig.ask(leaseOp('copy', LEASE, 2));
    expect(codeOf(await rig.ask(leaseOp('reboot', LEASE, 1)))).toBe('StaleGeneration');
    expect(codeOf(await copying)).toBe('ok');
    rig.vms.close();
  });

  it('waits for hours for its turn to be fetched, and not for ever', async () => {
    const hour = 3_600_000;
    const pending = new Set<{ ms: number; fn: () => void }>();
    const clock: Clock = {
      ...realClock,
      after(ms, fn, background) {
        if (ms < hour / 6) return realClock.after(ms, fn, background);
        const timer = { ms, fn };
        pending.add(timer);
        return { cancel: () => void pending.delete(timer) };
      },
    };
    const elapse = (ms: number): void => { for (const timer of pending) if (timer.ms <= ms) timer.fn(); };
    const rig = await running({ clock });
    await rig.ask(leaseOp('copy', LEASE, 2));
    elapse(2 * hour);
    expect(await read(rig)).toBe('4096 bytes');
    elapse(24 * hour);
    expect(await read(rig)).toMatch(/no disk of i-1 was saved/);
  });

  it('of a driver whose disks are everybody’s is not removed with the copy', async () => {
    const rig = await running();
    await rig.ask(leaseOp('copy', LEASE, 2));
    const base = await rig.driver.copy(rig.vms.place(LEASE), 1_000, new AbortController().signal);
    await rig.ask(leaseOp('reboot', LEASE, 3));
    expect(existsSync(base)).toBe(true);
    rig.vms.close();
  });
});
