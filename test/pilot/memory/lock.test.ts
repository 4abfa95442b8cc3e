/** The node's locks: held by the kernel, freed by the holder's death, waited for with a deadline. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { realClock as clock } from '../../../src/control/agent/clock.ts';
import { memoryLockName, placeName, takePlace, tryLock, waitForLock, whoHolds } from '../../../src/pilot/program/lock.ts';
import type { NodeLock } from '../../../src/pilot/program/lock.ts';
import { within } from './fake-xl.ts';

const held: NodeLock[] = [];
const children: ChildProcess[] = [];
afterEach(async () => {
  for (const lock of held.splice(0)) await lock.release();
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

const fresh = (): string => `/run/test/${randomUUID()}.lock`;
const keep = (lock: NodeLock): NodeLock => {
  held.push(lock);
  return lock;
};

/** Another process that listens at the name; `behaviour` is what it does with a connection. */
async function otherHolder(name: string, behaviour: string): Promise<ChildProcess> {
  const script = `require('net').createServer((s) => { s.on('error', () => {}); ${behaviour} }).listen(${JSON.stringify(name)}, () => console.log('held'))`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return child;
}

describe('a lock of the node', () => {
  it('is one process\'s at a time, and free again after it', async () => {
    const name = memoryLockName(fresh());
    const lock = await tryLock(name, 'the first');
    expect(await tryLock(name, 'the second')).toBeUndefined();
    expect(await whoHolds(clock, name)).toBe('the first');
    await lock?.release();
    expect(await whoHolds(clock, name)).toBeNull();
    keep((await tryLock(name, 'the second')) as NodeLock);
  });

  it('is freed when its holder is killed, and who waits has it then', async () => {
    const name = memoryLockName(fresh());
    const holder = await otherHolder(name, 's.write("slot a\\n")');
    const waiting = waitForLock(clock, name, 'me', within(20_000));
    expect(await whoHolds(clock, name)).toBe('slot a');
    holder.kill('SIGKILL');
    keep(await waiting);
  });

  it('is waited for by many, one after the other', async () => {
    const name = memoryLockName(fresh());
    let inside = 0;
    let most = 0;
    await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      const lock = await waitForLock(clock, name, `waiter ${i}`, within(20_000));
      inside += 1;
      most = Math.max(most, inside);
      await new Promise((resolve) => setImmediate(resolve));
      inside -= 1;
      await lock.release();
    }));
    expect(most).toBe(1);
  });

  it('is given up in time, naming the holder, whatever that sends', async () => {
    const name = memoryLockName(fresh());
    await otherHolder(name, 's.write("slot \\x1b[2J" + "x".repeat(100000)); s.write("\\n")');
    // As long as the other process may take to say who it is.
    await expect(waitForLock(clock, name, 'me', within(3_000))).rejects.toMatchObject({ exit: 4, message: expect.stringMatching(/slot \?\[2Jx{10,200} holds it$/) as string });
  });

  it('is given up in time when the holder is silent', async () => {
    const name = memoryLockName(fresh());
    await otherHolder(name, '');
    await expect(waitForLock(clock, name, 'me', within(300))).rejects.toThrow('another process holds it');
  });
});

describe('places on a node', () => {
  it('are as many as the policy says, and the next pilot is told who has them', async () => {
    const file = fresh();
    keep(await takePlace(clock, file, 2, 'slot a'));
    const second = await takePlace(clock, file, 2, 'slot b');
    await expect(takePlace(clock, file, 2, 'slot c')).rejects.toMatchObject({ exit: 4, message: expect.stringContaining('held by slot a and slot b') as string });
    await second.release();
    keep(await takePlace(clock, file, 2, 'slot c'));
    expect(await whoHolds(clock, placeName(file, 1))).toBe('slot c');
  });

  it('are one by default, and other than the lock of a change', async () => {
    const file = fresh();
    keep(await takePlace(clock, file, 1, 'slot a'));
    keep(await waitForLock(clock, memoryLockName(file), 'slot b', within(5_000)));
    await expect(takePlace(clock, file, 1, 'slot b')).rejects.toThrow('one pilot at a time may hold this node (pilots_per_node: 1), and it is held by slot a');
  });
});
