/**
 * A real VM: RunInstances sent to the built-in guest's banner, against bare `qemu-system-x86_64` with the same machine
 * from its start to the same banner. Medians of 9, rounds of both sides in turn.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { guestBanner, guestImage } from '../src/images/builtin/guest.ts';
import { createSignedClient } from './support/signed.ts';
import { median, startBenchService } from './support/service.ts';

const ROUNDS = 9;
const TARGET_MS = 150;
const LIMIT_MS = 30_000;

/** Looks every millisecond: the clock of both sides. */
async function said(file: string, text: string): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  for (;;) {
    try {
      if (readFileSync(file, 'latin1').includes(text)) return;
    } catch {
      // not there yet
    }
    if (performance.now() > end) throw new Error(`${file} never said ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function bare(dir: string): Promise<number> {
  const console = join(dir, 'console.log');
  rmSync(console, { force: true });
  const begun = performance.now();
  const qemu = spawn('qemu-system-x86_64', [
    '-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'pc,accel=tcg', '-cpu', 'max', '-m', '128M',
    '-fw_cfg', 'name=opt/nimbus/instance-id,string=i-bare', '-serial', `file:${console}`,
    '-drive', `file=${join(dir, 'guest.img')},format=raw,if=virtio,snapshot=on`,
    '-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile=',
  ], { stdio: 'ignore' });
  await said(console, guestBanner('i-bare'));
  const ms = performance.now() - begun;
  qemu.kill('SIGKILL');
  await once(qemu, 'exit');
  return ms;
}

const dir = mkdtempSync(join(tmpdir(), 'bench-boot-'));
writeFileSync(join(dir, 'guest.img'), guestImage());
const service = await startBenchService('[[local_nodes]]\nname = "n1"\ndriver = "qemu"\nmemory_mb = 4096\ncores = 32\n');
const client = createSignedClient(service.ec2, service.credentials, 1);
const ended = async (id: string): Promise<void> => {
  await client.call({ Action: 'TerminateInstances', 'InstanceId.1': id });
  while (!(await client.call({ Action: 'DescribeInstances', 'InstanceId.1': id })).body.includes('<name>terminated</name>'));
};
async function leased(): Promise<number> {
  const begun = performance.now();
  const { status, body } = await client.call({ Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: '1', MaxCount: '1', ClientToken: `${process.pid}-${begun}` });
  const id = /<instanceId>(i-[0-9a-f]+)/.exec(body)?.[1];
  if (status !== 200 || id === undefined) throw new Error(body);
  await said(join(service.dataDir, 'nodes/n1/vms', id, 'console.log'), guestBanner(id));
  const ms = performance.now() - begun;
  await ended(id);
  return ms;
}
try {
  const [ours, theirs]: [number[], number[]] = [[], []];
  // The first round also warms both sides up.
  for (let i = 0; i <= ROUNDS; i += 1) {
    theirs.push(await bare(dir));
    ours.push(await leased());
  }
  const [a, b] = [median(ours.slice(1)), median(theirs.slice(1))];
  console.log(`RunInstances to banner ${a.toFixed(0)} ms, bare qemu ${b.toFixed(0)} ms, difference ${(a - b).toFixed(0)} ms (target ${TARGET_MS} ms; medians of ${ROUNDS}); first lease ${ours[0]?.toFixed(0)} ms`);
} finally {
  client.close();
  await service.stop();
  rmSync(dir, { recursive: true, force: true });
}
