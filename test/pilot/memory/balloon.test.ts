/** What all mechanisms share, against a host in this process: commands that cannot be ended and take effect late. */
import { describe, expect, it } from 'vitest';
import { Balloon } from '../../../src/pilot/program/memory/balloon.ts';
import type { Host } from '../../../src/pilot/program/memory/balloon.ts';
import { CommandError } from '../../../src/pilot/program/memory/command.ts';
import { testContext, within } from './fake-xl.ts';

const TARGET = { mb: 512, beforeMb: 2007, afterMb: 1495 };

interface Model {
  readonly host: Host;
  mb: number;
  /** What the next calls of `setHostMb` do; the default is to set. */
  readonly next: ((mb: number) => void)[];
  readonly sets: number[];
}

function model(): Model {
  const m: Model = {
    mb: 2007, next: [], sets: [],
    host: {
      what: 'dom0',
      hostMb: () => Promise.resolve(m.mb),
      freeMb: () => Promise.resolve(0),
      setHostMb: (mb) => {
        m.sets.push(mb);
        const act = m.next.shift() ?? ((to: number) => { m.mb = to; });
        return Promise.resolve(mb).then(act);
      },
      guests: () => Promise.reject(new Error('xl list: no answer')),
      destroy: () => Promise.reject(new Error('xl destroy: no answer')),
      check: () => Promise.resolve([]),
    },
  };
  return m;
}

describe('a change of a host\'s memory', () => {
  it('is not over while a command may still undo it', async () => {
    const m = model();
    const mechanism = new Balloon('xl', m.host, testContext);
    let takesEffect = (): void => undefined;
    const gone = new Promise<void>((resolve) => {
      takesEffect = () => { m.mb = 1495; resolve(); };
    });
    m.next.push(() => { throw new CommandError('xl cannot be ended', gone); });
    await expect(mechanism.reduce(TARGET, within(20_000))).rejects.toThrow('a command that did not end may still change it');
    // The host has all it had; the late command takes effect right after that was set once more.
    m.next.push((mb) => { m.mb = mb; queueMicrotask(takesEffect); });
    expect(await mechanism.restore(TARGET, within(20_000))).toBe(2007);
    expect(m.mb).toBe(2007);
    expect(m.sets).toEqual([1495, 2007, 2007]);
  });

  it('is not called restored when such a command does not end in time', async () => {
    const m = model();
    const mechanism = new Balloon('xl', m.host, testContext);
    m.next.push(() => { throw new CommandError('xl cannot be ended', new Promise<void>(() => undefined)); });
    await expect(mechanism.reduce(TARGET, within(20_000))).rejects.toThrow('1495');
    await expect(mechanism.restore(TARGET, within(300))).rejects.toThrow('a command that did not end may still change it');
    expect(m.mb).toBe(2007);
  });

  it('tells a balloon that stands still its target again', async () => {
    const m = model();
    const mechanism = new Balloon('xl', m.host, testContext);
    m.next.push(() => undefined);
    expect(await mechanism.reduce(TARGET, within(20_000))).toBe(1495);
    expect(m.sets).toEqual([1495, 1495]);
  });

  it('waits for the last MB of a balloon that still moves, and takes one that stands within what counting loses', async () => {
    const moving = model();
    const left = [1498, 1497, 1496];
    const down = { ...moving.host, hostMb: () => Promise.resolve(left.shift() ?? 1495), setHostMb: () => Promise.resolve() };
    expect(await new Balloon('xl', down, testContext).reduce(TARGET, within(20_000))).toBe(1495);
    const standing = { ...moving.host, hostMb: () => Promise.resolve(1497), setHostMb: () => Promise.resolve() };
    expect(await new Balloon('xl', standing, testContext).reduce(TARGET, within(20_000))).toBe(1497);
  });

  it('fails with an exit code whatever the host says', async () => {
    const mechanism = new Balloon('xl', model().host, testContext);
    await expect(mechanism.guests(within(1000))).rejects.toMatchObject({ name: 'PilotError', exit: 4, message: 'xl list: no answer' });
    await expect(mechanism.destroy({ id: '1', name: 'a', memoryMb: 1 }, within(1000))).rejects.toMatchObject({ exit: 4 });
  });
});
