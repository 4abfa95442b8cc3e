/**
 * A VM's state leaves QEMU and comes back as a migration does (QEMU, "Migration framework"), with a file between the two: the
 * process that is left is ended, the one that goes on is started with the same arguments and waits for the state.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sleep } from '../../clock.ts';
import type { Clock } from '../../clock.ts';
import { AgentFault } from '../../fault.ts';
import type { Log } from '../../log.ts';
import { FILES } from './launch.ts';
import type { VmLink } from './link.ts';
import { dropMemory, keepMemory, largestState, receiveMemory, sendMemory, spendMemory, unspendMemory } from './memory.ts';
import type { MemoryFacts } from './memory.ts';
import { findVmProcess } from './process.ts';
import { lastWords } from './programs.ts';
import { requireRoom } from './room.ts';

const COMMAND_MS = 5_000;
const POLL_MS = 10;
/** A migration that was cancelled is over when QEMU has noticed. */
const CANCEL_MS = 5_000;
/** No other bound than the disk's, bytes a second. */
const UNBOUNDED = 2 ** 40;

export interface Saving {
  readonly memoryMb: number;
  readonly ms: number;
  readonly signal: AbortSignal;
  readonly facts: MemoryFacts;
  /** Ends the process. */
  readonly end: () => Promise<void>;
}

type Parts = { readonly clock: Clock; readonly log: Log };

export async function saveState(link: VmLink, { clock, log }: Parts, { memoryMb, ms, signal, facts, end }: Saving): Promise<void> {
  const { dir, lease } = link.place;
  const late = new AbortController();
  const timer = clock.after(ms, () => late.abort(), true);
  const begun = clock.monotonic();
  try {
    await dropMemory(dir);
    await requireRoom(dir, largestState(memoryMb), 'the memory');
    const bytes = await write(link, clock, { memoryMb, facts }, AbortSignal.any([signal, late.signal]));
    log.info('the memory of a VM was written to its file', { lease, bytes, ms: Math.round(clock.monotonic() - begun) });
    await end();
  } catch (e) {
    await goOn(link, clock).catch((why: unknown) => log.error('a VM whose memory was not written does not go on', { lease, why: String(why) }));
    throw late.signal.aborted ? new AgentFault('DeadlineExceeded', `the memory was not written within ${ms} ms`, { cause: e }) : e;
  } finally {
    timer.cancel();
  }
}

/** Bytes that the state has. */
async function write(link: VmLink, clock: Clock, { memoryMb, facts }: Pick<Saving, 'memoryMb' | 'facts'>, signal: AbortSignal): Promise<number> {
  const { dir } = link.place;
  await link.execute('stop', COMMAND_MS);
  const receiver = await receiveMemory(dir, largestState(memoryMb), signal);
  try {
    await link.execute('migrate-set-parameters', COMMAND_MS, { 'max-bandwidth': UNBOUNDED });
    await link.execute('migrate', COMMAND_MS, { uri: `unix:${FILES.memorySocket}` });
    const [bytes] = await Promise.all([receiver.received, migrated(link, clock, signal)]);
    await keepMemory(dir, facts);
    return bytes;
  } finally {
    receiver.close();
  }
}

interface Migration { readonly status?: string; readonly 'error-desc'?: string }
const OVER = new Set(['completed', 'failed', 'cancelled']);

async function migrated(link: VmLink, clock: Clock, signal: AbortSignal): Promise<void> {
  for (;;) {
    const { status, 'error-desc': why } = (await link.execute('query-migrate', COMMAND_MS)) as Migration;
    if (status === 'completed') return;
    // That it is broken off is the reason, whatever QEMU has seen of it.
    if (signal.aborted || (status !== undefined && OVER.has(status))) throw new AgentFault('DriverFailed', `QEMU did not give the VM's state: ${signal.aborted ? 'broken off' : why ?? status}`);
    await sleep(clock, POLL_MS);
  }
}

/** The VM runs on as if nothing had been asked. One that has ended meanwhile keeps what was written of it. */
async function goOn(link: VmLink, clock: Clock): Promise<void> {
  if ((await findVmProcess(link.place, null)) === null) return;
  // Before the guest can change its disk.
  await dropMemory(link.place.dir);
  await link.execute('migrate_cancel', COMMAND_MS);
  const end = clock.monotonic() + CANCEL_MS;
  for (;;) {
    const { status } = (await link.execute('query-migrate', COMMAND_MS)) as Migration;
    if (status === undefined || status === 'none' || OVER.has(status) || clock.monotonic() > end) break;
    await sleep(clock, POLL_MS);
  }
  await link.execute('cont', COMMAND_MS);
}

/** Of a process that waits for the state: gives it, and lets the guest run. */
export async function continueFrom(link: VmLink, clock: Clock, signal: AbortSignal): Promise<void> {
  const { dir } = link.place;
  // An older helper does not know what it is asked for, and boots: nothing must come of that.
  if ((await link.status(COMMAND_MS)) !== 'inmigrate') throw new AgentFault('DriverFailed', 'QEMU was started to boot, not to go on: install the helper of this version');
  try {
    await link.execute('migrate-incoming', COMMAND_MS, { uri: `unix:${FILES.memoryInlet}` });
    await sendMemory(dir, signal);
    while ((await link.status(COMMAND_MS)) === 'inmigrate') {
      if (signal.aborted) throw new AgentFault('DriverFailed', 'the reading of the memory was broken off');
      await sleep(clock, POLL_MS);
    }
  } catch (e) {
    const words = lastWords(await readFile(join(dir, FILES.errors), 'utf8').catch(() => ''));
    throw new AgentFault('DriverFailed', `QEMU did not take the VM's state: ${words === '' ? (e as Error).message : words}`, { cause: e });
  }
  await spendMemory(dir);
  try {
    await link.execute('cont', COMMAND_MS);
  } catch (e) {
    if ((await link.status(COMMAND_MS).catch(() => '')) === 'paused') await unspendMemory(dir);
    throw e;
  }
  await dropMemory(dir);
}
