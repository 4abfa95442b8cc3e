/** Reads that share an answer: never one that began before it was asked for, and no more than one at a time of a key. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sharedReads } from '../../src/manager/shared-reads.ts';

interface Begun { readonly asked: readonly number[]; readonly end: (fails: boolean) => void }

function rig() {
  const begun: Begun[] = [];
  const share = sharedReads((asked: readonly number[]) => new Promise<number>((resolve, reject) => {
    const number = begun.push({ asked, end: (fails) => (fails ? reject(new Error('away')) : resolve(number)) });
  }));
  return { begun, share };
}

const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve); });

describe('shared reads', () => {
  it('answers those that came meanwhile with the next read, whose questions it was told', async () => {
    const { begun, share } = rig();
    const answers = [share('a', 1), share('b', 4)];
    await turn();
    answers.push(share('a', 2), share('a', 3));
    await turn();
    expect(begun.map((b) => b.asked)).toEqual([[1], [4]]);
    begun[0]?.end(false);
    await turn();
    expect(begun.map((b) => b.asked)).toEqual([[1], [4], [2, 3]]);
    for (const b of begun) b.end(false);
    expect(await Promise.all(answers)).toEqual([1, 2, 3, 3]);
  });

  it('goes on after a read that failed, which fails for nobody else', async () => {
    const { begun, share } = rig();
    const first = share('a', 1);
    await turn();
    const second = share('a', 2);
    begun[0]?.end(true);
    await expect(first).rejects.toThrow('away');
    await turn();
    begun[1]?.end(false);
    expect(await second).toBe(2);
    const third = share('a', 3);
    await turn();
    begun[2]?.end(false);
    expect(await third).toBe(3);
  });

  it('holds in any order of questions and answers: each answer began after its question, one of a key at a time', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.oneof({ weight: 2, arbitrary: fc.constant('ask' as const) }, { weight: 1, arbitrary: fc.constantFrom('end' as const, 'fail' as const) }), { maxLength: 40 }), async (steps) => {
      const { begun, share } = rig();
      const asked: Array<{ before: number; answer: Promise<number | undefined> }> = [];
      let ended = 0;
      for (const step of steps) {
        if (step === 'ask') asked.push({ before: begun.length, answer: share('k', asked.length).catch(() => undefined) });
        else if (ended < begun.length) begun[ended++]?.end(step === 'fail');
        await turn();
        expect(begun.length - ended).toBeLessThanOrEqual(1);
      }
      while (ended < begun.length) {
        begun[ended++]?.end(false);
        await turn();
      }
      for (const { before, answer } of asked) expect(await answer ?? Infinity).toBeGreaterThan(before);
      expect(begun.flatMap((b) => b.asked)).toEqual(asked.map((_, i) => i));
    }));
  });
});
