/** Waits for what silent nodes leave behind: each open intent has been sent, was not answered, and that is noted. */
import { expect } from 'vitest';
import { statement } from '../../src/store/db.ts';
import type { TestSite } from './site.ts';

const open = statement<{ error: string | null }>('test-open-errors', "SELECT error FROM intent WHERE state = 'open'");

export async function unanswered({ db, dispatcher }: Pick<TestSite, 'db' | 'dispatcher'>): Promise<void> {
  await expect.poll(async () => [...new Set((await db.query(open)).map((i) => i.error))], { interval: 5, timeout: 60_000 }).toEqual(['no answer']);
  await expect.poll(() => dispatcher.underWay, { interval: 5, timeout: 60_000 }).toBe(0);
}
