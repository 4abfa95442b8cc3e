import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { clean, createGuest, dom0Memory, guestConfig, guests, leftovers } from './dom0.ts';
import { between, byHand, installByHand, programMs, table, type ByHand } from './figures.ts';
import { bootXen, DOM0_MB, type XenMachine } from './machine.ts';
import { installPilot, MIN_MB, pilotArgv, reserve } from './pilots.ts';
import { startService, type Service } from './service.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 300_000 });
const SLOT_MB = 1024;
const GUEST_MB = 512;
const RUNS = 5;
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
  if (task.result?.state === 'fail') console.error(machine.serial());
  await clean(machine);
});
afterAll(async () => {
  await machine?.powerOff();
  await service?.close();
});

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

test('a guest that is not the slot\'s is left alone, also when it holds the room; killnine ends it', async () => {
  const pilot = await reserve(machine, service, { memoryMb: SLOT_MB });
  await createGuest(machine, 'foreign', GUEST_MB);
  await pilot.signal('TERM');
  const restored = await service.heard(pilot.slot, 'restored', 120_000);
  expect((await pilot.ended).code).toBe(6);
  expect(restored.code).not.toBe(0);
  expect(restored.text).toMatch(/dom0/);
  expect(await guests(machine)).toEqual(['foreign']);
  const { code, stdout, stderr } = await machine.run(pilotArgv('--killnine', '--stdoutlog'));
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
  const { code, stdout, stderr } = await machine.run(pilotArgv('--recover', '--stdoutlog'));
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
  ])}\nmedians of ${RUNS} runs\n`);
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
