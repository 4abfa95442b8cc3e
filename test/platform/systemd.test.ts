/** The unit of `etc/`: what systemd says of it, and that what it promises of VMs and options is in it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { program } from '../../src/cli/program.ts';
import { realClock } from '../../src/platform/real.ts';
import { hasPart } from '../parts.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const unit = readFileSync(join(ROOT, 'etc', 'nimbus.service'), 'utf8');
/** The value that counts, as systemd reads it: the last one. */
const value = (key: string): string | undefined => [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].at(-1)?.[1];

test.skipIf(!hasPart('systemd'))('systemd takes it without a word', () => {
  const dir = mkdtempSync(join(tmpdir(), 'unit-'));
  // Verified on a machine where programs lie elsewhere.
  writeFileSync(join(dir, 'nimbus.service'), unit.replace('/usr/bin/node /opt/nimbus/bin/nimbus.mjs', `${process.execPath} ${join(ROOT, 'bin', 'nimbus.mjs')}`));
  const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', join(dir, 'nimbus.service')], { encoding: 'utf8', env: { ...process.env, SYSTEMD_LOG_LEVEL: 'warning' } });
  rmSync(dir, { recursive: true });
  expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: '' });
});

test('a stop reaches the service alone, and the end of one VM is no end of the others', () => {
  expect({ kill: value('KillMode'), oom: value('OOMPolicy'), tasks: value('TasksMax') }).toEqual({ kill: 'process', oom: 'continue', tasks: 'infinity' });
  // A start that cannot succeed is not repeated; the code is the command's own.
  expect([value('Restart'), value('RestartPreventExitStatus')]).toEqual(['always', '2']);
});

test('its command line is one that the program takes, and its ready file is the one that is waited for', () => {
  const [, ...words] = (value('ExecStart') ?? '').split(' ').slice(1);
  let given: unknown;
  const root = program({
    clock: realClock, env: {}, io: { out: () => undefined, err: () => undefined, ask: () => Promise.resolve(null), width: 80, watched: false },
    installer: {} as never, withoutService: {} as never, keyRotation: {} as never, serve: (o) => { given = o; return Promise.resolve(); },
  });
  root.parse(words, { from: 'user' });
  expect(given).toEqual({ config: '/etc/nimbus/nimbus.toml', data: `/var/lib/${value('StateDirectory') ?? ''}`, readyFile: `/run/${value('RuntimeDirectory') ?? ''}/ready.json` });
  expect(value('ExecStartPost')).toContain('[ -e /run/nimbus/ready.json ]');
});

test.each(['PrivateDevices', 'ProtectClock', 'PrivateTmp', 'ProtectHome', 'MemoryDenyWriteExecute', 'DeviceAllow', 'DevicePolicy', 'DynamicUser'])('%s would break VMs or commands, and is not set', (key) => {
  expect(value(key)).toBeUndefined();
});
