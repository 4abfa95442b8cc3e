/**
 * The unit of `etc/` where systemd is process 1, installed as docs/operations.md says, with real VMs: what a restart, a crash, a stop, a
 * wrong configuration and a boot do to the service, and what they leave alone.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSignedClient } from '../../bench/support/signed.ts';
import { blocks, pageOf } from '../docs/pages.ts';
import { hasPart } from '../parts.ts';
import { SystemdMachine } from '../support/systemd-machine.ts';

const CONFIG = 'ec2 = { listen = "127.0.0.1:0" }\nmonitoring = { listen = "127.0.0.1:0" }\nlocal_nodes = [{ name = "n1", driver = "qemu", memory_mb = 512, cores = 4 }]\n';
/** As the page has it. */
const INSTALL = blocks({ file: '', text: pageOf('docs/operations.md') }).find((b) => b.text.includes('systemctl enable --now nimbus'))?.text ?? '';
const TIMEOUT = { timeout: 600_000 };

interface Process {
  readonly pid: number;
  readonly user: string;
  readonly args: string;
}

describe.skipIf(!hasPart('systemd-boots') || !hasPart('qemu'))('under systemd', () => {
  let machine: SystemdMachine;
  let keys: { accessKey: string; secretKey: string };

  beforeAll(async () => {
    machine = new SystemdMachine();
    await machine.boot();
    configure(CONFIG);
  }, 360_000);
  afterAll(() => machine.close(), 360_000);

  const configure = (toml: string): void => writeFileSync(join(machine.root, 'opt/nimbus/nimbus.toml'), toml);
  const install = (): Promise<string> => machine.do('install', '-D', '-m', '0640', '-g', 'nimbus', 'nimbus.toml', '/etc/nimbus/nimbus.toml');
  const nimbus = async <T>(...args: string[]): Promise<T> => JSON.parse(await machine.do('node', 'bin/nimbus.mjs', ...args, '--data', '/var/lib/nimbus', '--json')) as T;
  const systemctl = (...args: string[]): Promise<string> => machine.do('systemctl', '--no-pager', ...args);
  const unit = async (...properties: string[]): Promise<Record<string, string>> =>
    Object.fromEntries((await systemctl('show', 'nimbus', `--property=${properties.join(',')}`)).trim().split('\n').map((line) => line.split('=') as [string, string]));
  const journal = async (): Promise<string> => {
    await machine.do('journalctl', '--sync');
    return machine.do('journalctl', '--no-pager', '--boot', '--output=cat');
  };
  const ready = async (): Promise<{ ec2: string; monitoring: string; pid: number }> => JSON.parse(await machine.do('cat', '/run/nimbus/ready.json')) as { ec2: string; monitoring: string; pid: number };
  const vms = async (): Promise<Process[]> => (await machine.do('ps', '-eo', 'pid=,user=,args=')).trim().split('\n').flatMap((line) => {
    const [, pid = '0', user = '', args = ''] = /^\s*(\d+) (\S+)\s+(.*)$/.exec(line) ?? [];
    return /^\S*qemu-system/.test(args) ? [{ pid: Number(pid), user, args: args.slice(0, 80) }] : [];
  });
  const states = async (): Promise<string[]> => (await nimbus<Array<{ state: string }>>('lease', 'list')).map((l) => l.state);

  async function ec2(parameters: Record<string, string>): Promise<string> {
    const client = createSignedClient((await ready()).ec2, keys, 1);
    const { status, body } = await client.call(parameters, 30_000);
    client.close();
    expect(status, body).toBe(200);
    return body;
  }

  it('is installed as the page says, and is started when it answers', TIMEOUT, async () => {
    const said = await machine.run('sh', '-e', '-c', INSTALL);
    expect(said.code, `${said.out}${said.code === 0 ? '' : await journal()}`).toBe(0);
    const { monitoring, pid } = await ready();
    expect((await fetch(new URL('/readyz', monitoring))).status).toBe(200);
    expect(await unit('ActiveState', 'UnitFileState', 'MainPID')).toEqual({ ActiveState: 'active', UnitFileState: 'enabled', MainPID: String(pid) });
    keys = await nimbus('user', 'add', 'ada');
  });

  it('runs VMs, as its user, with nothing of what it forbids', TIMEOUT, async () => {
    await ec2({ Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: '2', MaxCount: '2' });
    await expect.poll(states, { timeout: 120_000, interval: 200 }).toEqual(['Running', 'Running']);
    const found = await vms();
    expect(found.map((p) => p.user)).toEqual(['nimbus', 'nimbus']);
    for (const { pid } of found) expect(await machine.do('grep', '-E', '^(NoNewPrivs|CapBnd|Seccomp):', `/proc/${pid}/status`)).toBe('CapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n');
  });

  it('leaves VMs alone when it is restarted', TIMEOUT, async () => {
    const before = await vms();
    const { pid } = await ready();
    await systemctl('restart', 'nimbus');
    expect((await ready()).pid).not.toBe(pid);
    expect(await vms()).toEqual(before);
    expect(await states()).toEqual(['Running', 'Running']);
    expect(await journal()).toMatch(/left-over process \d+ \(qemu-system-\S+\) in control group/);
  });

  it('is started again when it is killed, and finds its VMs', TIMEOUT, async () => {
    const before = await vms();
    await systemctl('kill', '--signal=KILL', '--kill-whom=main', 'nimbus');
    await expect.poll(() => unit('NRestarts', 'ActiveState'), { timeout: 120_000, interval: 100 }).toEqual({ NRestarts: '1', ActiveState: 'active' });
    expect(await vms()).toEqual(before);
    const [lease] = await nimbus<Array<{ id: string }>>('lease', 'list');
    await ec2({ Action: 'TerminateInstances', 'InstanceId.1': lease?.id ?? '' });
    await expect.poll(states, { timeout: 120_000, interval: 200 }).toEqual(['Running']);
    await expect.poll(async () => (await vms()).length, { timeout: 60_000, interval: 200 }).toBe(1);
  });

  it('ends alone when it is stopped, and takes its VMs back when it is started', TIMEOUT, async () => {
    const before = await vms();
    await systemctl('stop', 'nimbus');
    expect(await unit('ActiveState', 'Result', 'MainPID')).toEqual({ ActiveState: 'inactive', Result: 'success', MainPID: '0' });
    expect(await vms()).toEqual(before);
    await systemctl('start', 'nimbus');
    expect(await vms()).toEqual(before);
    expect(await states()).toEqual(['Running']);
  });

  it('is not started again and again on a configuration that is wrong, and says so at once', TIMEOUT, async () => {
    const before = await vms();
    configure(`nonsense = 1\n${CONFIG}`);
    await install();
    expect((await machine.run('systemctl', 'restart', 'nimbus')).code).toBe(1);
    expect(await unit('ActiveState', 'Result', 'ExecMainStatus', 'NRestarts')).toEqual({ ActiveState: 'failed', Result: 'exit-code', ExecMainStatus: '2', NRestarts: '0' });
    expect(await journal()).toContain('nonsense');
    expect(await vms()).toEqual(before);
    configure(CONFIG);
    await install();
    await systemctl('start', 'nimbus');
    expect(await states()).toEqual(['Running']);
  });

  it('is there after a boot, and knows that its VMs are not', TIMEOUT, async () => {
    await machine.shutDown();
    await machine.boot();
    expect(await unit('ActiveState')).toEqual({ ActiveState: 'active' });
    await expect.poll(states, { timeout: 120_000, interval: 200 }).toEqual([]);
    expect(await vms()).toEqual([]);
    await ec2({ Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: '1', MaxCount: '1' });
    await expect.poll(states, { timeout: 120_000, interval: 200 }).toEqual(['Running']);
    expect(readFileSync(join(machine.root, 'etc/nimbus/nimbus.toml'), 'utf8')).toBe(CONFIG);
  });
});
