import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Client } from 'ssh2';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectSsh, pinnedTo } from '../../../src/control/ssh/connect.ts';
import { readPin } from '../../../src/control/ssh/hostkeys.ts';
import { installIdentities } from '../../../src/control/ssh/identities.ts';
import { InstallError, installNode, type InstallOptions, type InstallStep } from '../../../src/control/ssh/install.ts';
import { operatingKey, type OperatingKey } from '../../../src/control/ssh/keys.ts';
import { remoteFiles, runRemote } from '../../../src/control/ssh/remote.ts';
import { VERSION } from '../../../src/platform/version.ts';
import { sshdSet, type Sshd, type SshdSet } from '../../fixtures/sshd.ts';
import { hasPart } from '../../parts.ts';
import { ctx } from '../client/setup.ts';

const AGENT = fileURLToPath(new URL('../../fixtures/pipe-agent.cjs', import.meta.url));

describe.skipIf(!hasPart('sshd'))('adding a node over SSH', () => {
  let set: SshdSet;
  let admin: { privateFile: string; publicLine: string };
  let operating: OperatingKey;

  beforeAll(() => {
    set = sshdSet();
    admin = set.key('admin');
    operating = operatingKey(join(set.dir, 'service keys'));
  });
  afterAll(() => set.close());

  const host = async (): Promise<Sshd> => {
    const sshd = await set.make();
    writeFileSync(sshd.authorizedKeys, `# the administrator's\n${admin.publicLine}\n`, { mode: 0o600 });
    await mustLiveIn(sshd);
    return sshd;
  };
  /** These tests write authorized_keys: it must be the fixture's, not that of whoever runs them. */
  const mustLiveIn = async (sshd: Sshd): Promise<void> => {
    const client = await connect(sshd, admin.privateFile);
    const files = await remoteFiles(client, ctx.random);
    const home = await files.home();
    client.destroy();
    if (home !== sshd.home) throw new Error(`SFTP begins in ${home}, not in ${sshd.home}`);
  };
  const settings = async (sshd: Sshd, change: Partial<InstallOptions> = {}): Promise<InstallOptions> => ({
    target: { host: sshd.host, port: sshd.port, user: sshd.user },
    trust: { hostKey: sshd.hostKey },
    identities: await installIdentities({ installKey: admin.privateFile, home: '/nonexistent' }),
    operatingPublicLine: operating.publicLine, operatingKeyFile: operating.privateFile, agentProgram: AGENT, driver: 'simulated', ...change,
  });
  const connect = (sshd: Sshd, keyFile: string): Promise<Client> => connectSsh({
    target: { host: sshd.host, port: sshd.port, user: sshd.user },
    identities: [{ kind: 'key', privateKey: readFileSync(keyFile), name: keyFile }],
    checkHost: pinnedTo(readPin(sshd.hostKey) ?? Buffer.alloc(0)),
  }, new AbortController().signal);

  test('one key installs, another operates, and the agent answers', async () => {
    const sshd = await host();
    const steps: InstallStep[] = [];
    const report = await installNode(ctx, await settings(sshd, { progress: (s) => steps.push(s), agentConfig: { cacheMb: 7 } }));
    expect(report).toMatchObject({ missing: [], status: { driver: 'simulated' }, version: VERSION, host: { from: 'given' }, access: { transport: 'ssh', port: sshd.port, hostKey: sshd.hostKey } });
    const program = join(sshd.home, '.nimbus', `workspace-control-${VERSION}.cjs`);
    expect(readFileSync(program, 'utf8')).toBe(readFileSync(AGENT, 'utf8'));
    expect(statSync(program).mode & 0o777).toBe(0o755);
    expect(readdirSync(join(sshd.home, '.nimbus')).sort()).toEqual(['agent.json', `workspace-control-${VERSION}.cjs`]);
    expect(JSON.parse(readFileSync(join(sshd.home, '.nimbus', 'agent.json'), 'utf8'))).toEqual({ cacheMb: 7 });
    const keys = readFileSync(sshd.authorizedKeys, 'utf8');
    expect(keys).toMatch(/^# the administrator's\nssh-ed25519 \S+ test\nrestrict,command="[^"]+" ssh-ed25519 \S+ nimbus-operate\n$/);
    expect(statSync(sshd.authorizedKeys).mode & 0o777).toBe(0o600);
    expect([...new Set(steps.map((s) => s.step))]).toEqual(['host-key', 'connect', 'check', 'copy', 'authorize', 'prove']);
  });

  test('installing again changes nothing but the program', async () => {
    const sshd = await host();
    await installNode(ctx, await settings(sshd));
    const before = readFileSync(sshd.authorizedKeys, 'utf8');
    expect((await installNode(ctx, await settings(sshd))).missing).toEqual([]);
    expect(readFileSync(sshd.authorizedKeys, 'utf8')).toBe(before);
  });

  test('the settings that an administrator wrote for the agent stay; the site\'s are brought up to date', async () => {
    const sshd = await host();
    await installNode(ctx, await settings(sshd, { agentConfig: { cacheMb: 7 } }));
    const file = join(sshd.home, '.nimbus', 'agent.json');
    const helper = { command: ['sudo', '-n', '/opt/nimbus/workspace-control', 'helper'] };
    writeFileSync(file, JSON.stringify({ cacheMb: 7, helper }));
    await installNode(ctx, await settings(sshd, { agentConfig: { cacheMb: 8 } }));
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ cacheMb: 8, helper });
    writeFileSync(file, 'cacheMb = 7');
    await expect(settings(sshd, { agentConfig: { cacheMb: 9 } }).then((o) => installNode(ctx, o))).rejects.toThrow(/agent\.json is no JSON object; mend it or remove it/);
    expect(readFileSync(file, 'utf8')).toBe('cacheMb = 7');
  });

  test('the operating key starts the agent whatever it asks for: no command, no forwarding, no files, no terminal', async () => {
    const sshd = await host();
    await installNode(ctx, await settings(sshd));
    const client = await connect(sshd, operating.privateFile);
    const ran = await runRemote(client, ['echo', 'another', 'command']);
    expect(ran.stdout).toMatch(/^\{"hello":/);
    expect(ran.stdout).not.toContain('another');
    await expect(new Promise((resolve, reject) => client.forwardOut('127.0.0.1', 1, '127.0.0.1', sshd.port, (e, c) => (e === undefined ? resolve(c) : reject(e))))).rejects.toThrow(/administratively prohibited|open failed/i);
    await expect(new Promise((resolve, reject) => client.forwardIn('127.0.0.1', 0, (e) => (e === undefined ? resolve(0) : reject(e))))).rejects.toThrow();
    await expect(new Promise((resolve, reject) => client.exec('sh', { pty: true }, (e) => (e === undefined ? resolve(0) : reject(e))))).rejects.toThrow();
    await expect(new Promise((resolve, reject) => client.sftp((e, s) => (e === undefined ? resolve(s) : reject(e))))).rejects.toThrow();
    const closed = once(client, 'close');
    client.destroy();
    await closed;
  });

  test('an older line of ours is replaced, also when it allowed more; other lines stay', async () => {
    const sshd = await host();
    const loose = operating.publicLine;
    writeFileSync(sshd.authorizedKeys, `${loose}\n${admin.publicLine}\nrestrict,command="/old serve --state ${JSON.stringify('x').slice(1, -1)}" ssh-ed25519 AAAAother nimbus-operate\n`);
    await installNode(ctx, await settings(sshd));
    const lines = readFileSync(sshd.authorizedKeys, 'utf8').trim().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines.filter((l) => l.includes(loose.split(' ')[1] ?? '?')).every((l) => l.startsWith('restrict,command='))).toBe(true);
    expect(lines).toContain(admin.publicLine);
  });

  test('the key that operates must not install', async () => {
    const sshd = await host();
    const identities = await installIdentities({ installKey: operating.privateFile, home: '/nonexistent' });
    await expect(installNode(ctx, await settings(sshd, { identities }))).rejects.toThrow(/is the operating key; the key that installs must be another/);
  });

  test('a wrong host key stops everything before a key is offered', async () => {
    const [sshd, other] = [await host(), await host()];
    await expect(installNode(ctx, await settings(sshd, { trust: { hostKey: other.hostKey } }))).rejects.toThrow(/the host shows SHA256:\S+, but SHA256:\S+ was given/);
    expect(readFileSync(sshd.authorizedKeys, 'utf8')).not.toContain('nimbus-operate');
  });

  test('a host without Node is told how to get one; with the executable it needs none', async () => {
    const bare = await set.make({ config: ['ForceCommand case "$SSH_ORIGINAL_COMMAND" in *node*-p*) exit 127 ;; *) exec sh -c "$SSH_ORIGINAL_COMMAND" ;; esac'] });
    writeFileSync(bare.authorizedKeys, `${admin.publicLine}\n`);
    await mustLiveIn(bare);
    const refusal = await installNode(ctx, await settings(bare)).catch((e: unknown) => e);
    expect(refusal).toBeInstanceOf(InstallError);
    expect((refusal as Error).message).toMatch(/the host has no Node; the agent needs 20\.19 or newer\. Install Node there, or build/);
    const executable = join(set.dir, 'self-contained');
    writeFileSync(executable, '#!/bin/sh\n', { mode: 0o755 });
    const report = await installNode(ctx, { ...(await settings(bare, { executable })), operatingKeyFile: undefined });
    expect(report.command[0]).toBe(`${bare.home}/.nimbus/workspace-control-${VERSION}`);
    expect(statSync(report.command[0] ?? '').mode & 0o777).toBe(0o755);
  });

  test('what keeps the operating key from starting the agent is in the report', async () => {
    const sshd = await host();
    const stranger = operatingKey(join(set.dir, 'another service'));
    const report = await installNode(ctx, await settings(sshd, { operatingKeyFile: stranger.privateFile }));
    expect(report.status).toBeNull();
    expect(report.missing).toEqual([expect.stringMatching(/does not start through the operating key: .*accepts none of the keys.*AuthorizedKeysFile/) as string]);
  });

  test('without a key to install with, it says how to give one', async () => {
    mkdirSync(join(set.dir, 'empty home'), { recursive: true });
    await expect(installIdentities({ home: join(set.dir, 'empty home'), agentSocket: '' })).rejects.toThrow(/start ssh-agent and add yours, or name a private key with --install-key/);
  });
});
