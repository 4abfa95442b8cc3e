import { createHash } from 'node:crypto';
import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { guestBanner } from '../../../src/images/builtin/guest.ts';
import { hasPart } from '../../parts.ts';
import { consoleSays, consoleText, newNode, runs, until, userNic } from './fixture.ts';

const digest = async (file: string): Promise<string> => createHash('sha256').update(await readFile(file)).digest('hex');

describe.skipIf(!hasPart('qemu'))('QEMU driver', () => {
  it('boots the built-in guest, which says its lease on the console', async () => {
    const node = await newNode();
    const driver = node.driver();
    const { place, vm } = await node.boot(driver);
    expect(vm).toMatchObject({ state: 'running', reach: null });
    await consoleSays(driver, place, guestBanner(place.lease));
    expect((await stat(join(place.dir, 'disk.qcow2'))).mode & 0o777).toBe(0o600);
  });

  it('runs two VMs on one base, which stays as it was', async () => {
    const node = await newNode();
    const before = await digest(node.base);
    const driver = node.driver();
    const [one, two] = await Promise.all([node.boot(driver, { nics: [userNic()] }), node.boot(driver, { nics: [userNic()], diskMb: 64 })]);
    await Promise.all([one, two].map(({ place }) => consoleSays(driver, place, guestBanner(place.lease))));
    expect(await consoleText(driver, one.place)).not.toContain(two.place.lease);
    expect(one.vm.reach).toMatchObject({ host: '127.0.0.1', forwarded: true });
    expect(one.vm.reach?.sshPort).not.toBe(two.vm.reach?.sshPort);
    expect(await digest(node.base)).toBe(before);
  });

  it('pauses, resumes and reboots', async () => {
    const node = await newNode();
    const driver = node.driver();
    const { place } = await node.boot(driver);
    await driver.pause(place);
    expect((await driver.find(place))?.state).toBe('paused');
    await driver.resume(place);
    expect((await driver.find(place))?.state).toBe('running');
    await consoleSays(driver, place, guestBanner(place.lease));
    await driver.reboot(place);
    await consoleSays(driver, place, guestBanner(place.lease), 2);
  });

  it('tells the end of a VM that was killed, once', async () => {
    const node = await newNode();
    const driver = node.driver();
    const { place, vm } = await node.boot(driver);
    const reasons: string[] = [];
    driver.watch(place, (reason) => reasons.push(reason));
    process.kill(vm.pid ?? 0, 'SIGKILL');
    await until('the exit', async () => reasons.length > 0);
    expect(reasons).toEqual(['QEMU was killed or crashed']);
    expect(await driver.find(place)).toBeNull();
  });

  it('finds and ends the VM of an agent that is gone', async () => {
    const node = await newNode();
    const { place, vm } = await node.boot(node.driver(), { nics: [userNic()] });
    const restarted = node.driver();
    // The first driver's connection stands as that of a hung agent would: QEMU serves one QMP client at a time.
    expect(await runs(vm.pid ?? 0)).toBe(true);
    await restarted.end(place);
    expect(await runs(vm.pid ?? 0)).toBe(false);
  });

  it('leaves nothing after the end, and ending again is harmless', async () => {
    const node = await newNode();
    const driver = node.driver();
    const { place, vm } = await node.boot(driver, { nics: [userNic()] });
    const told: string[] = [];
    driver.watch(place, (reason) => told.push(reason));
    await driver.end(place);
    expect(await runs(vm.pid ?? 0)).toBe(false);
    expect(await driver.find(place)).toBeNull();
    await driver.end(place);
    await rm(place.dir, { recursive: true });
    expect(told).toEqual([]);
  });
});
