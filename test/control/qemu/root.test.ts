/** What only root can show: VMs under uids of their own, taps on bridges, and the helper under sudo. Each in namespaces. */
import { spawnSync } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { DEFAULT_UIDS } from '../../../src/control/agent/helper/policy.ts';
import { isMapped } from '../../../src/control/agent/helper/uids.ts';
import { guestBanner } from '../../../src/images/builtin/guest.ts';
import type { Nic } from '../../../src/lease/types.ts';
import { findProgram, hasPart } from '../../parts.ts';
import { consoleSays, newLease, newNode, temporaryDir, userNic } from './fixture.ts';
import type { NodeSight, NodeTask } from './node-main.ts';

const NOBODY = 65_534;
const here = hasPart('qemu') && hasPart('root') && isMapped(DEFAULT_UIDS);
const bridgeNic: Nic = { ...userNic('192.0.2.7'), kind: 'bridge', bridge: 'br-test' };
const isVmUid = (uid: number): boolean => uid >= DEFAULT_UIDS.first && uid < DEFAULT_UIDS.first + DEFAULT_UIDS.count;

/** Namespaces of its own: no link, mount or file of these tests is seen outside, and all go with the last process. */
const NAMESPACES = ['--net', '--mount', '--propagation', 'private', '--'];
/**
 * An empty /mnt with the program in it (the test's own directory may be closed to other users), /dev/net/tun as udev makes
 * it, a bridge. `$1` is the program; the rest is executed.
 */
const NODE = `
mount -t tmpfs -o dev,mode=755 tmpfs /mnt
cp "$1" /mnt/node.mjs && shift
mknod -m 666 /mnt/tun c 10 200 && mount --bind /mnt/tun /dev/net/tun
ip link add br-test type bridge && ip link set br-test up
mkdir -m 700 /mnt/state`;
/** An /etc that lets the user nobody start the helper, and the helper's policy. */
const SUDO = `
chown nobody /mnt/state
mkdir /mnt/etc && cp -a /etc/. /mnt/etc && mkdir -p /mnt/etc/nimbus
echo '{"stateDirs":["/mnt/state"],"bridges":["br-test"]}' > /mnt/etc/nimbus/helper.json
echo "nobody ALL=(root) NOPASSWD: $NODE /mnt/node.mjs helper" > /mnt/etc/sudoers.d/nimbus && chmod 440 /mnt/etc/sudoers.d/nimbus
mount --bind /mnt/etc /etc`;

async function inNamespaces(setUp: string, task: NodeTask, as: readonly string[] = []): Promise<NodeSight> {
  const program = join(await temporaryDir(), 'node.mjs');
  const entryPoints = [fileURLToPath(new URL('node-main.ts', import.meta.url))];
  await build({ entryPoints, outfile: program, bundle: true, platform: 'node', format: 'esm', target: 'node20', logLevel: 'error' });
  const command = [...as, process.execPath, '/mnt/node.mjs', JSON.stringify(task)];
  const { status, stdout, stderr } = spawnSync(
    'unshare', [...NAMESPACES, 'sh', '-ec', `${setUp}\nexec "$@"`, 'sh', program, ...command],
    { encoding: 'utf8', timeout: 60_000, env: { ...process.env, NODE: process.execPath } },
  );
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as NodeSight;
}

describe.skipIf(!here)('as root', () => {
  it('each VM has a uid that can read nothing of another VM', async () => {
    const node = await newNode();
    const driver = node.driver();
    const [one, two] = await Promise.all([node.boot(driver), node.boot(driver)]);
    await consoleSays(driver, two.place, guestBanner(two.place.lease));
    const uids = await Promise.all([one, two].map(async ({ vm }) => Number(/^Uid:\s+(\d+)/m.exec(await readFile(`/proc/${vm.pid}/status`, 'utf8'))?.[1])));
    expect(uids.every(isVmUid)).toBe(true);
    expect(uids[0]).not.toBe(uids[1]);
    expect((await stat(join(one.place.dir, 'disk.qcow2'))).uid).toBe(uids[0]);
    // Even from inside its own directory, which is where QEMU stands, the way to the sibling is closed.
    for (const file of ['base.img', 'disk.qcow2', 'console.log']) {
      const { stderr } = spawnSync('cat', [`../${one.place.lease}/${file}`], { cwd: two.place.dir, uid: uids[1], gid: uids[1], encoding: 'utf8' });
      expect(stderr).toContain('Permission denied');
    }
  });

  it('joins a VM to a bridge and removes its tap at the end', async () => {
    const seen = await inNamespaces(NODE, { stateDir: '/mnt/state', lease: newLease(), nics: [bridgeNic], settings: {}, helper: {} });
    expect(seen).toMatchObject({ banner: true, found: true, foundAfter: false, serialized: { owner: 0, mode: 0o600, state: 'running', quiet: true } });
    expect(seen.links.filter((link) => link.master === 'br-test').length).toBe(1);
    expect(seen.linksAfter.map((link) => link.ifname).sort()).toEqual(['br-test', 'lo']);
  });

  it.skipIf(findProgram('sudo') === undefined || findProgram('setpriv') === undefined)('an agent without root has all of it through the helper', async () => {
    const helper = { command: ['sudo', '-n', process.execPath, '/mnt/node.mjs', 'helper'] };
    const asNobody = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
    const seen = await inNamespaces(`${NODE}${SUDO}`, { stateDir: '/mnt/state', lease: newLease(), nics: [bridgeNic], settings: {}, helper }, asNobody);
    expect(seen).toMatchObject({ banner: true, found: true, foundAfter: false });
    expect(isVmUid(seen.uid)).toBe(true);
    expect(seen.diskOwner).toBe(seen.uid);
    expect(seen.serialized).toEqual({ owner: NOBODY, mode: 0o600, state: 'running', quiet: true });
    expect(seen.linksAfter.map((link) => link.ifname).sort()).toEqual(['br-test', 'lo']);
  });
});
