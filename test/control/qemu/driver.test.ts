import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ForwardPorts } from '../../../src/control/agent/drivers/qemu/ports.ts';
import { guestBanner } from '../../../src/images/builtin/guest.ts';
import { hasPart } from '../../parts.ts';
import { atEnd, consoleSays, consoleText, newNode, runs, until, userNic } from './fixture.ts';

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

  it('confines the process: system calls filtered, files bounded, a session of its own', async () => {
    const node = await newNode();
    const { vm } = await node.boot(node.driver());
    const text = async (file: string): Promise<string> => readFile(`/proc/${vm.pid}/${file}`, 'utf8');
    expect(await text('status')).toMatch(/^Seccomp:\s+2$/m);
    expect(await text('limits')).toMatch(/^Max file size\s+68173824\s/m); // 1 MiB of disk, a 64th of it, 64 MiB
    expect(await text('limits')).toMatch(/^Max core file size\s+0\s/m);
    const session = (await text('stat')).replace(/\(.*\)/, 'name').split(' ')[5];
    expect(Number(session)).toBe(vm.pid);
  });

  it('a VM whose QEMU hangs costs nobody else anything, and is ended', async () => {
    const node = await newNode();
    const driver = node.driver();
    const [hung, other] = [await node.boot(driver), await node.boot(driver)];
    process.kill(hung.vm.pid ?? 0, 'SIGSTOP');
    const paused = driver.pause(hung.place).then(() => 'paused', (e: Error) => e.message);
    await driver.pause(other.place);
    expect((await driver.find(other.place))?.state).toBe('paused');
    await driver.end(hung.place);
    expect(await runs(hung.vm.pid ?? 0)).toBe(false);
    expect(await paused).toMatch(/QEMU ended before it answered|QEMU is gone|did not answer/);
  });

  it('a failed start says why and leaves no process, record or port', async () => {
    const node = await newNode();
    const driver = node.driver();
    const place = await node.place();
    await expect(driver.start(place, node.spec(place.lease))).rejects.toThrow('was not prepared');
    const spec = node.spec(place.lease, { cores: 1024, nics: [userNic()] });
    await driver.prepare(place, spec, node.base);
    await expect(driver.start(place, spec)).rejects.toThrow(/QEMU ended with status 1: .*CPU/);
    expect(await driver.find(place)).toBeNull();
    expect((await readdir(place.dir)).sort()).toEqual(['base.img', 'console.log', 'disk.qcow2', 'qemu.err', 'run']);
    expect(await driver.start(place, node.spec(place.lease, { nics: [userNic()] }))).toMatchObject({ state: 'running' });
    await driver.end(place);
  });

  it('gives no port that is in use, and says when there is none', async () => {
    const busy = createServer();
    await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve));
    atEnd(() => new Promise((resolve) => void busy.close(() => resolve())));
    const { port } = busy.address() as AddressInfo;
    const ports = new ForwardPorts([port, port], '127.0.0.1');
    await expect(ports.take('i-0')).rejects.toMatchObject({ code: 'NoPort' });
  });
});
