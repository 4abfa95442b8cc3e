import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { clean, createGuest, dom0Memory, guestConfig, guests, leftovers } from './dom0.ts';
import { between, byHand, installByHand, programMs, table, type ByHand } from './figures.ts';
import { PILOT_LOGS } from './boot-files.ts';
import { bootXen, DOM0_MB, type XenMachine } from './machine.ts';
import { installPilot, MIN_MB, pilotArgv, reserve } from './pilots.ts';
import { startService, type Service } from './service.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 300_000 });
const SLOT_MB = 1024;
const GUEST_MB = 512;
/** Fits beside a whole dom0. */
const SMALL_MB = 128;
const RUNS = 5;
/** Characters of the console. */
const REPORTED = 4000;
const WHOLE = { xenMb: DOM0_MB, kernelMb: DOM0_MB, targetMb: DOM0_MB };
const REDUCED = { xenMb: DOM0_MB - SLOT_MB, kernelMb: DOM0_MB - SLOT_MB, targetMb: DOM0_MB - SLOT_MB };

let machine: XenMachine;
let service: Service;

beforeAll(async () => {
  const image = process.env['NIMBUS_XEN_IMAGE'];
  if (image === undefined) throw new Error('run this suite with "npm run test:xen", which makes the machine first');
  machine = await bootXen(image);
  service = await startService();
  await installPilot(machine);
  await installByHand(machine, fileURLToPath(new URL('by-hand.cjs', import.meta.url)));
});
afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') console.error(await report());
  await clean(machine);
});
afterAll(async () => {
  await machine?.powerOff();
  await service?.close();
});

/** What pilots and consoles said, for a test that failed. */
async function report(): Promise<string> {
  const logs = await machine.run(['sh', '-c', 'tail -n 40 "$1"/*', 'sh', PILOT_LOGS]).then(({ stdout }) => stdout, (e: unknown) => String(e));
  return `${logs}\n${machine.serial().slice(-REPORTED)}`;
}

test('the machine: dom0 has all its memory, and a guest has no room', async () => {
  expect(await dom0Memory(machine)).toEqual(WHOLE);
  const { code, stderr } = await machine.run(['xl', 'create', await guestConfig(machine, 'nowhere', GUEST_MB)]);
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/memory/i);
  expect(await guests(machine)).toEqual([]);
});

test('a slot takes exactly its memory from dom0, a guest boots in it, and SIGTERM gives it back', async () => {
  const pilot = await reserve(machine, service, { memoryMb: SLOT_MB });
  expect(pilot.reserved.reserved?.memoryMb).toBe(SLOT_MB);
  expect(await dom0Memory(machine)).toEqual(REDUCED);
  await createGuest(machine, 'guest', GUEST_MB);
  expect(await guests(machine)).toEqual(['guest']);
  // As the agent does it when the service ends a lease.
  await machine.must(['xl', 'destroy', 'guest']);
  await pilot.signal('TERM');
  expect((await service.heard(pilot.slot, 'restored')).code).toBe(0);
  expect((await pilot.ended).code).toBe(5);
  expect(await dom0Memory(machine)).toEqual(WHOLE);
  expect(await leftovers(machine)).toEqual([]);
});

test('at the end of its time the memory is back, and the exit is 0', async () => {
  const pilot = await reserve(machine, service, { memoryMb: SLOT_MB, durationS: 30 });
  expect(await dom0Memory(machine)).toEqual(REDUCED);
  expect((await pilot.ended).code).toBe(0);
  expect(await dom0Memory(machine)).toEqual(WHOLE);
  expect(await leftovers(machine)).toEqual([]);
});

test('more than dom0 can spare is refused, and nothing is taken', async () => {
  await expect(reserve(machine, service, { memoryMb: DOM0_MB - MIN_MB + 1 })).rejects.toThrow(/256/);
  expect(await dom0Memory(machine)).toEqual(WHOLE);
});

test('at SIGTERM a guest of the slot is ended, another one runs on', async () => {
  const pilot = await reserve(machine, service, { memoryMb: SLOT_MB });
  const own = `${pilot.slot}.vm1`;
  await createGuest(machine, own, GUEST_MB);
  await createGuest(machine, 'foreign', SMALL_MB);
  await pilot.signal('TERM');
  expect((await service.heard(pilot.slot, 'killed')).names).toEqual([own]);
  expect((await pilot.ended).code).toBe(5);
  expect(await guests(machine)).toEqual(['foreign']);
  expect(await dom0Memory(machine)).toEqual(WHOLE);
  expect(await leftovers(machine)).toEqual([]);
});

test('a foreign guest that holds the room is left alone: the pilot says what is missing, and killnine mends it', async () => {
  const pilot = await reserve(machine, service, { memoryMb: SLOT_MB, graceS: 20 });
  await createGuest(machine, 'foreign', GUEST_MB);
  await pilot.signal('TERM');
  const restored = await service.heard(pilot.slot, 'restored');
  expect(restored.code).not.toBe(0);
  expect(restored.text).toMatch(/dom0/);
  expect((await pilot.ended).code).toBe(6);
  expect(await guests(machine)).toEqual(['foreign']);
  const { code, stdout, stderr } = await machine.run(pilotArgv('--killnine', '--stdoutlog'), { timeoutMs: 120_000 });
  expect(`${stdout}${stderr}`).toContain('foreign');
  expect(code).toBe(0);
  expect(await guests(machine)).toEqual([]);
  expect(await dom0Memory(machine)).toEqual(WHOLE);
});

test('after SIGKILL --recover gives back what the pilot had taken', async () => {
  const pilot = await reserve(machine, service, { memoryMb: SLOT_MB });
  await pilot.signal('KILL');
  await pilot.ended;
  expect(await dom0Memory(machine)).toEqual(REDUCED);
  const { code, stdout, stderr } = await machine.run(pilotArgv('--recover', '--stdoutlog'), { timeoutMs: 120_000 });
  expect(`${stdout}${stderr}`).toContain(pilot.slot);
  expect(code).toBe(0);
  expect(await dom0Memory(machine)).toEqual(WHOLE);
  expect(await leftovers(machine)).toEqual([]);
  // Once more: nothing is left to do.
  expect((await machine.run(pilotArgv('--recover'))).code).toBe(0);
  expect(await dom0Memory(machine)).toEqual(WHOLE);
});

test('figures: pilot and bare xl in turn', { timeout: 1_200_000 }, async () => {
  const reduce: Timed = { byHand: [], pilotMs: [] };
  const restore: Timed = { byHand: [], pilotMs: [] };
  const killAll: Timed = { byHand: [], pilotMs: [] };
  const emptyMs: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    reduce.byHand.push(await byHand(machine, 'reduce', DOM0_MB - SLOT_MB));
    restore.byHand.push(await byHand(machine, 'restore', DOM0_MB));
    const pilot = await reserve(machine, service, { memoryMb: SLOT_MB });
    await pilot.signal('TERM');
    const restored = await service.heard(pilot.slot, 'restored');
    expect((await pilot.ended).code).toBe(5);
    reduce.pilotMs.push(between(pilot.reserved, 'reduce-begun', 'reduced'));
    restore.pilotMs.push(between(restored, 'restore-begun', 'restored'));
    await roomWithGuest();
    killAll.byHand.push(await byHand(machine, 'kill-all', DOM0_MB));
    await roomWithGuest();
    killAll.pilotMs.push(await programMs(machine, pilotArgv('--killnine')));
    expect(await guests(machine)).toEqual([]);
    emptyMs.push(await programMs(machine, ['/usr/local/bin/node', '-e', '']));
  }
  console.log(`\n${table([
    { what: `dom0 gives up ${SLOT_MB} MB`, paperMs: 743.6, ...reduce },
    { what: `dom0 gets ${SLOT_MB} MB back`, paperMs: 1317.2, ...restore },
    { what: 'kill-all, one guest (pilot: whole process)', paperMs: 2336.3, ...killAll },
    { what: 'an empty Node program', byHand: [], pilotMs: emptyMs },
  ])}\n${RUNS} runs\n`);
  expect(await dom0Memory(machine)).toEqual(WHOLE);
});

interface Timed {
  readonly byHand: ByHand[];
  readonly pilotMs: number[];
}

/** A guest that runs in a slot's room, with no pilot. */
async function roomWithGuest(): Promise<void> {
  await byHand(machine, 'reduce', DOM0_MB - SLOT_MB);
  await createGuest(machine, 'guest', GUEST_MB);
}
