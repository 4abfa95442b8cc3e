import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createGuest, dom0Memory, guestConfig, guests } from './dom0.ts';
import { byHand, installByHand, table, type Row } from './figures.ts';
import { bootXen, DOM0_MB, type XenMachine } from './machine.ts';

let machine: XenMachine;
const rows: Row[] = [];

beforeAll(async () => {
  const image = process.env['NIMBUS_XEN_IMAGE'];
  if (image === undefined) throw new Error('run this suite with "npm run test:xen", which makes the machine first');
  machine = await bootXen(image);
  await installByHand(machine, fileURLToPath(new URL('by-hand.cjs', import.meta.url)));
});
afterAll(async () => {
  await machine?.powerOff();
  console.log(table(rows));
});

test('dom0 has all its memory, and a guest of 512 MB has no room', async () => {
  expect(await dom0Memory(machine)).toEqual({ xenMb: DOM0_MB, kernelMb: DOM0_MB, targetMb: DOM0_MB });
  const { code, stderr } = await machine.run(['xl', 'create', await guestConfig(machine, 'nowhere', 512)]);
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/memory/i);
  expect(await guests(machine)).toEqual([]);
});

test('a guest of 512 MB boots in the room that mem-set made, and nothing is left after kill-all by hand', async () => {
  await byHand(machine, 'reduce', DOM0_MB - 1024);
  await createGuest(machine, 'guest', 512);
  await byHand(machine, 'kill-all', DOM0_MB);
  expect(await guests(machine)).toEqual([]);
  expect((await dom0Memory(machine)).xenMb).toBe(DOM0_MB);
});
