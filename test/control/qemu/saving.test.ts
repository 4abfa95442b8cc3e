/** Disks that are saved, over the ends of agents. */
import { createHash, randomBytes } from 'node:crypto';
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { realClock, type Clock } from '../../../src/control/agent/clock.ts';
import { findPrograms, run } from '../../../src/control/agent/drivers/qemu/programs.ts';
import { copyBytes, copyStill } from '../../../src/control/agent/drivers/qemu/still.ts';
import { guestImage } from '../../../src/images/builtin/guest.ts';
import { findProgram, hasPart } from '../../parts.ts';
import { Agent, bundle, killAgents } from '../agent/program.ts';
import { codeOf, leaseOp, opId, specOf, vmOf } from '../agent/rig.ts';
import { atEnd, newLease, newNode, runs, savedOf, temporaryDir, until } from './fixture.ts';

afterEach(killAgents);
const { qemuImg } = findPrograms({});
const qemuIo = findProgram('qemu-io') ?? 'qemu-io';
const SAVE_MS = 120_000;
const copiesIn = async (dir: string): Promise<string[]> => (await readdir(dir)).filter((name) => /^(cop|saved)/.test(name));

describe.skipIf(!hasPart('qemu'))('a disk whose agent was killed', () => {
  it('while it was saved, or when it was: the next agent is asked again and has it', async () => {
    const dir = await temporaryDir();
    const program = await bundle(dir);
    const state = join(dir, 'state');
    const next = async (programs: Readonly<Record<string, string>> = {}): Promise<Agent> => {
      await writeFile(`${state}.json`, JSON.stringify({ qemu: { programs } }));
      const agent = new Agent(program, ['serve', '--state', state, '--driver', 'qemu', '--config', `${state}.json`]);
      await agent.open();
      return agent;
    };
    // As one that has much to copy.
    const [slow, pidFile] = [join(dir, 'slow-img'), join(dir, 'slow-img.pid')];
    await writeFile(slow, `#!/bin/sh\n[ "$1" = convert ] || exit 1\necho $$ > '${pidFile}.new'\nmv '${pidFile}.new' '${pidFile}'\nexec sleep 600\n`);
    await chmod(slow, 0o755);
    const lease = newLease();
    const path = join(dir, 'image');
    await writeFile(path, guestImage());
    const image = { id: 'ami-0', sha256: createHash('sha256').update(guestImage()).digest('hex'), format: 'raw', sizeBytes: guestImage().length, path } as const;

    const first = await next({ qemuImg: slow });
    vmOf(await first.ask({ op: 'propagate', id: opId(), lease, generation: 1, deadlineMs: 60_000, vm: { ...specOf(image, lease), diskMb: 4 } }));
    const [dirOf, disk] = [(of: string) => join(state, 'vms', of), join(state, 'vms', lease, 'disk.qcow2')];
    const other = newLease();
    vmOf(await first.ask({ op: 'propagate', id: opId(), lease: other, generation: 1, deadlineMs: 60_000, vm: specOf(image, other) }));
    // As an agent leaves it that ends while a disk is copied, or before that is fetched.
    for (const name of ['copy.qcow2', 'copied.qcow2']) await writeFile(join(dirOf(other), name), '');
    await run(qemuIo, ['-f', 'qcow2', '-c', 'write -P 0xa5 1M 64k', disk], { ms: 30_000 });
    const save = leaseOp('save', lease, 2, opId(), SAVE_MS);
    first.send({ do: [save] });
    const copier = Number(await until('the copying', () => readFile(pidFile, 'utf8').catch(() => null)));
    atEnd(async () => { if (await runs(copier)) process.kill(copier, 'SIGKILL'); });
    await first.kill();
    await until('the end of what copied for it', async () => !(await runs(copier)));

    const second = await next();
    expect(await copiesIn(dirOf(other))).toEqual([]);
    expect(vmOf(await second.ask(save)).state).toBe('saved');
    expect(vmOf(await second.ask(save)).state).toBe('saved');
    expect(await copiesIn(dirOf(lease))).toEqual(['saved.qcow2']);
    await second.kill();

    const third = await next();
    expect(await copiesIn(dirOf(lease))).toEqual([]);
    expect(vmOf(await third.ask(save)).state).toBe('saved');
    const file = join(dir, 'fetched.qcow2');
    await writeFile(file, await savedOf(third, lease));
    await run(qemuImg, ['compare', '-f', 'qcow2', '-F', 'qcow2', file, disk], { ms: 30_000 });
    expect(codeOf(await third.ask(leaseOp('remove', lease, 3)))).toBe('ok');
  });
});

describe.skipIf(!hasPart('qemu'))('the room for a disk that is saved', () => {
  const saveBy = async (script: string): Promise<string> => {
    const node = await newNode();
    const program = join(node.stateDir, 'qemu-img');
    await writeFile(program, `#!/bin/sh\n${script}\nexec '${qemuImg}' "$@"\n`);
    await chmod(program, 0o755);
    const driver = node.driver({ programs: { qemuImg: program } });
    const place = await node.place();
    await driver.prepare(place, node.spec(place.lease), node.base);
    return driver.save(place, 30_000, new AbortController().signal).then((file) => run(qemuImg, ['check', '-f', 'qcow2', file], { ms: 10_000 }));
  };

  it('is asked for first: others’ disks do not stop for it', async () => {
    await expect(saveBy(`[ "$1" = measure ] && echo '{"required": ${2 ** 60}}' && exit 0`)).rejects.toMatchObject({ code: 'DiskFull', message: expect.stringMatching(/MiB of disk are free; the saved disk of this VM may take \d+ MiB/) as string });
  });

  it('is not asked for where nobody can tell it', async () => {
    await expect(saveBy('[ "$1" = measure ] && exit 1')).resolves.toContain('No errors');
  });

  it('is no more than the disk takes', async () => {
    await expect(saveBy('')).resolves.toContain('No errors');
  });
});

describe('a file that is copied while a VM stands still', () => {
  const never = new AbortController().signal;
  /** A clock on which any time is over at once. */
  const hasty: Clock = { ...realClock, after: (_ms, fn) => { fn(); return { cancel: () => undefined }; } };
  const file = async (): Promise<[string, string]> => {
    const dir = await temporaryDir();
    await writeFile(join(dir, 'from'), randomBytes(5_000_000));
    return [join(dir, 'from'), join(dir, 'to')];
  };

  it('is the same, by sharing or by reading', async () => {
    const [from, to] = await file();
    await copyStill(from, to, { clock: realClock, signal: never });
    expect((await readFile(to)).equals(await readFile(from))).toBe(true);
    await copyBytes(from, `${to}.2`, 60_000, { clock: realClock, signal: never });
    expect((await readFile(`${to}.2`)).equals(await readFile(from))).toBe(true);
  });

  it('is given up after a while, and what helps is said', async () => {
    const [from, to] = await file();
    await expect(copyBytes(from, to, 60_000, { clock: hasty, signal: never })).rejects.toMatchObject({ code: 'DeadlineExceeded', message: expect.stringContaining('with a reboot') as string });
  });

  it('is given up at once when nobody wants it any more, and says what else is wrong', async () => {
    const [from, to] = await file();
    await expect(copyBytes(from, to, 60_000, { clock: realClock, signal: AbortSignal.abort() })).rejects.toThrow('broken off');
    await expect(copyBytes(`${from}.none`, to, 60_000, { clock: realClock, signal: never })).rejects.toThrow(/could not be copied: ENOENT/);
  });
});
