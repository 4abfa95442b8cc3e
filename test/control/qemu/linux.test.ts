/** A real Linux guest gets what the user gave: name, address, keys, user data; and it is reached where the product says. */
import { execFile, execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { writeSeed } from '../../../src/control/agent/seed.ts';
import type { Reach } from '../../../src/lease/types.ts';
import { linuxGuest } from '../../guests/linux.ts';
import { hasPart } from '../../parts.ts';
import { atEnd, newNode, temporaryDir, until, userNic } from './fixture.ts';

const run = promisify(execFile);
const TEST_MS = 600_000;

/** `patience`: seconds for the connection; a guest that is not up yet does not answer at all. */
async function sshWith(key: string, reach: Reach, command: string, patience: number): Promise<string> {
  const options = ['BatchMode=yes', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', `ConnectTimeout=${patience}`, 'IdentitiesOnly=yes'];
  const args = [...options.flatMap((o) => ['-o', o]), '-i', key, '-p', `${reach.sshPort}`, `root@${reach.host}`, command];
  return (await run('ssh', args, { timeout: 60_000 })).stdout;
}

describe.skipIf(!hasPart('qemu') || !hasPart('linuxguest'))('a Linux guest', () => {
  it('is logged into with the leased key, knows its seed, goes on after it was serialized, and its own shutdown is told', { timeout: TEST_MS }, async () => {
    const image = linuxGuest();
    const key = join(await temporaryDir(), 'id');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', key]);
    const node = await newNode();
    const driver = node.driver();
    const place = await node.place();
    const userData = '#!/bin/sh\necho "what the user gave, häßlich, 100 %"\n';
    const spec = node.spec(place.lease, {
      memoryMb: 128, nics: [userNic('10.31.0.77')],
      seed: {
        instanceId: place.lease, hostname: 'guest-77', publicKeys: [(await readFile(`${key}.pub`, 'utf8')).trim()],
        userData: Buffer.from(userData).toString('base64'),
      },
    });
    atEnd(() => driver.end(place));
    writeSeed(place.dir, spec);
    await driver.prepare(place, spec, image);
    let { reach } = await driver.start(place, spec);
    const reasons: string[] = [];
    driver.watch(place, (reason) => reasons.push(reason));

    const say = (command: string, patience = 50): Promise<string> => {
      if (reach === null) throw new Error('no reach');
      return sshWith(key, reach, command, patience);
    };
    const hostname = await until('an answer of sshd', () => say('hostname', 5).catch(() => null), 120_000);
    expect(hostname).toBe('guest-77\n');
    expect(await say('cat /seed/user-data')).toBe(userData);
    expect(await say('sed -n "s/^instance-id: //p" /seed/meta-data')).toBe(`"${place.lease}"\n`);
    expect(await say('ip -o -4 address show dev eth0')).toContain('10.31.0.77/24');
    expect((await driver.console(place, 64 * 1024)).bytes.toString()).toContain('linux guest guest-77 is up at 10.31.0.77/24');

    // The port's name is where udev would make the link of that name.
    await driver.notice(place, 'this node ends in 8 s');
    const port = (await say('grep -l org.nimbus-workspace.notice /sys/class/virtio-ports/*/name')).split('/')[4] ?? '';
    expect(await say(`head -n 1 /dev/${port}`)).toBe('this node ends in 8 s\n');

    const alive = 'cat /proc/sys/kernel/random/boot_id; cat /only-in-memory';
    await say('echo kept > /only-in-memory');
    const before = await say(alive);
    const { memory } = driver;
    if (memory === undefined) throw new Error('the driver keeps no memory');
    const never = new AbortController().signal;
    await memory.save(place, spec.memoryMb, 60_000, never);
    expect(await driver.find(place)).toBeNull();
    ({ reach } = await memory.restore(place, spec, never));
    driver.watch(place, (reason) => reasons.push(reason));
    expect(await until('the guest', () => say(alive, 5).catch(() => null), 120_000)).toBe(before);
    expect(reasons).toEqual([]);

    await say('poweroff -f').catch(() => undefined);
    await until('the exit', async () => reasons.length > 0);
    expect(reasons[0]).toMatch(/^the guest shut itself down/);
  });
});
