/** The machine's own huge pages, of which there is one pool: tests that change it or count it do so one file at a time. */
import { realClock } from '../../src/control/agent/clock.ts';
import { memoryLockName, waitForLock, type NodeLock } from '../../src/pilot/program/lock.ts';

export const HUGE_PAGES = '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages';
const WAIT_MS = 200_000;

/** For `beforeAll`; the caller releases it. */
export const holdHugePages = (): Promise<NodeLock> => waitForLock(realClock, memoryLockName(HUGE_PAGES), 'a test', AbortSignal.timeout(WAIT_MS));
