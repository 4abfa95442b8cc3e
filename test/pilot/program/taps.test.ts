/** Taps on bridges outlive the QEMU that had them: of a root pilot that was killed, `--recover` removes them. In a network of the test's own. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tapName } from '../../../src/control/agent/drivers/qemu/launch.ts';
import { findProgram, hasPart } from '../../parts.ts';
import { leave } from '../node.ts';
import { SLOT } from './pilot.ts';
import { node, usePilots } from './rig.ts';

usePilots();

const canUnshare = hasPart('root') && findProgram('ip') !== undefined && spawnSync('unshare', ['-n', 'true']).status === 0;

describe.skipIf(!canUnshare)('taps of a pilot that was killed', () => {
  it('go with its slot; those of other leases stay', async () => {
    const [own, other] = ['i-0000000000000000a', 'i-0000000000000000b'];
    const dir = await leave(node.stateBase, SLOT, { host: 'node7' });
    mkdirSync(join(dir, 'control', 'vms', own), { recursive: true, mode: 0o700 });
    const taps = [tapName(own, 0), tapName(own, 1), tapName(other, 0)];
    const add = taps.map((name) => `ip tuntap add dev ${name} mode tap`).join(' && ');
    const script = `${add} && ${process.execPath} ${node.program} --recover -p ${node.config()} -s >&2; ip -o link`;
    const { status, stdout, stderr } = spawnSync('unshare', ['-n', 'sh', '-c', script], { encoding: 'utf8' });
    expect(status, stderr).toBe(0);
    expect(taps.map((name) => stdout.includes(` ${name}:`)), stderr).toEqual([false, false, true]);
    expect(node.left()).toEqual([]);
  });
});
