import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { sshTransport } from '../../../src/control/client/ssh.ts';
import { fingerprint, readPin } from '../../../src/control/ssh/hostkeys.ts';
import { operatingKey } from '../../../src/control/ssh/keys.ts';
import { halfOpenProxy } from '../../fixtures/half-open-proxy.ts';
import { run, sshdSet, type Sshd, type SshdSet } from '../../fixtures/sshd.ts';
import { hasPart } from '../../parts.ts';
import { collect, ctx, imageOf, isDown, isUp, listRequest, overTransports, startRequest, type Watched } from './setup.ts';

const AGENT = fileURLToPath(new URL('../../fixtures/pipe-agent.cjs', import.meta.url));

describe.skipIf(!hasPart('sshd'))('channels over sshd', () => {
  let set: SshdSet;
  let privateKeyFile: string;
  let line: string;
  const open: Watched[] = [];

  beforeAll(() => {
    set = sshdSet();
    const key = operatingKey(set.dir);
    privateKeyFile = key.privateFile;
    line = `restrict,command="'${process.execPath}' '${AGENT}'" ${key.publicLine}\n`;
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((w) => w.client.close()));
  });
  afterAll(() => set.close());

  const node = async (): Promise<Sshd> => {
    const sshd = await set.make();
    writeFileSync(sshd.authorizedKeys, line, { mode: 0o600 });
    return sshd;
  };
  const way = (s: Sshd, change: { hostKey?: string; port?: number } = {}) =>
    sshTransport(ctx, { transport: 'ssh', host: s.host, port: s.port, user: s.user, hostKey: s.hostKey, ...change }, { privateKeyFile });
  const over: typeof overTransports = (...args) => {
    const w = overTransports(...args);
    open.push(w);
    return w;
  };

  test('a host with its pinned key is reached, and answers', async () => {
    const { client } = over([way(await node())]);
    expect((await client.ask(1, listRequest())).result).toEqual({ vms: [] });
    expect(Math.abs(client.state(1).clockOffsetMs)).toBeLessThan(1000);
  });

  test('a changed host key is refused with both fingerprints, and nothing is sent', async () => {
    const sshd = await node();
    const before = sshd.hostKey;
    await sshd.stop();
    const after = sshd.newHostKey();
    await sshd.start();
    const { client, when } = over([way(sshd, { hostKey: before })]);
    const [was, is] = [before, after].map((k) => fingerprint(readPin(k) ?? Buffer.alloc(0)));
    const { reason } = await when(1, isDown);
    expect(reason).toContain(`the host key changed: pinned ${was}, shown ${is}`);
    expect(client.state(1).hello).toBeNull();
  });

  test('fingerprints are those of ssh-keygen', async () => {
    const sshd = await node();
    writeFileSync(`${set.dir}/one.pub`, `${sshd.hostKey}\n`);
    expect(run('ssh-keygen', ['-l', '-f', `${set.dir}/one.pub`])).toContain(fingerprint(readPin(sshd.hostKey) ?? Buffer.alloc(0)));
  });

  test('a host that takes another key only says so', async () => {
    const sshd = await node();
    writeFileSync(sshd.authorizedKeys, '');
    const { when } = over([way(sshd)]);
    expect((await when(1, isDown)).reason).toMatch(/accepts none of the keys offered \(the operating key\)/);
  });

  test('an operating key that others can read is not used', async () => {
    const sshd = await node();
    const loose = `${set.dir}/loose`;
    writeFileSync(loose, readFileSync(privateKeyFile), { mode: 0o644 });
    const { when } = over([sshTransport(ctx, { transport: 'ssh', host: sshd.host, port: sshd.port, user: sshd.user, hostKey: sshd.hostKey }, { privateKeyFile: loose })]);
    expect((await when(1, isDown)).reason).toMatch(/can be read by others; run "chmod 600/);
  });

  describe('to a borrowed node', () => {
    const stateDir = '/var/tmp/it\'s a pilot/sl-0123456789ab.c7/control';
    const asked = (s: Sshd): string => join(s.home, 'asked');
    const slotNode = async (): Promise<Sshd> => {
      const sshd = await set.make();
      const forced = join(sshd.home, 'forced');
      writeFileSync(forced, `#!/bin/sh\nprintf %s "$SSH_ORIGINAL_COMMAND" > '${asked(sshd)}'\nexec '${process.execPath}' '${AGENT}'\n`, { mode: 0o755 });
      writeFileSync(sshd.authorizedKeys, line.replace(/command="[^"]*"/, `command="'${forced}'"`), { mode: 0o600 });
      return sshd;
    };
    const slotWay = ({ host, port, user }: Sshd, hostKeys: readonly string[]) =>
      sshTransport(ctx, { transport: 'slot-ssh', slot: 'sl-0123456789ab', host, port, user, hostKeys, stateDir }, { privateKeyFile });

    test('any of its host keys may answer, and the command joins the agent of the slot', async () => {
      const sshd = await slotNode();
      const { client } = over([slotWay(sshd, ['ssh-unknown AAAA', set.key('other-host').publicLine, sshd.hostKey])]);
      expect((await client.ask(1, listRequest())).result).toEqual({ vms: [] });
      // What the shell of the account makes of the words is what was meant.
      const words = run('sh', ['-c', `set -- ${readFileSync(asked(sshd), 'utf8')}; printf '%s|' "$@"`]);
      expect(words).toBe(`workspace-pilot|control|--state|${stateDir}|`);
    });

    test('a host that shows none of them is refused, and one without any is not called', async () => {
      const sshd = await slotNode();
      const others = [set.key('first').publicLine, set.key('second').publicLine];
      const { when } = over([slotWay(sshd, others), slotWay(sshd, ['no key'])]);
      const { reason } = await when(1, isDown);
      for (const key of [...others, sshd.hostKey]) expect(reason).toContain(fingerprint(readPin(key) ?? Buffer.alloc(0)));
      expect((await when(2, isDown)).reason).toMatch(/no host key of 127\.0\.0\.1 is known: .*control\.transport to "pilot"/);
      expect(existsSync(asked(sshd))).toBe(false);
    });
  });

  test('a killed agent is reported and started again', async () => {
    const { client, when } = over([way(await node())]);
    const first = await when(1, isUp);
    const down = when(1, isDown);
    process.kill(first.hello?.pid ?? 0, 'SIGKILL');
    expect((await down).reason).toMatch(/the agent (was ended by (SIG)?KILL|exited)/);
    const second = await when(1, isUp);
    expect(second.hello?.pid).not.toBe(first.hello?.pid);
    await client.ask(1, listRequest());
  });

  test('a killed sshd is unreachable with the reason, and reached again when it is back', async () => {
    const sshd = await node();
    const { client, when } = over([way(sshd)]);
    await when(1, isUp);
    await sshd.stop();
    await when(1, (s) => s.reason?.includes('nothing listens on the port') ?? false);
    await sshd.start();
    await when(1, isUp);
    await client.ask(1, listRequest());
  });

  test('a half-open connection is down within the silence allowed; others are not held up', async () => {
    const [frozen, fine] = [await node(), await node()];
    const proxy = await halfOpenProxy(frozen.host, frozen.port);
    const { client, when } = over([way(frozen, { port: proxy.port }), way(fine)], { silenceMs: 4000, connectMs: 5000 });
    await Promise.all([when(1, isUp), when(2, isUp)]);
    proxy.freeze();
    const lost = collect(client, [{ nodeId: 1, requests: [listRequest()] }]);
    await client.ask(2, listRequest());
    expect(await lost).toMatchObject([{ lost: 'unreachable', reason: 'silent for 4000 ms' }]);
    expect((await when(1, (s) => s.reason?.includes('no connection') ?? false)).reason).toMatch(/no connection within 5000 ms/);
    proxy.thaw();
    await when(1, isUp);
    await client.close();
    await proxy.close();
  });

  test('an image goes over SSH and its digest is checked there', async () => {
    const bytes = Buffer.alloc(3_000_000, 'image');
    const { client, when } = over([way(await node())], { imageSource: (image) => sourceOf(image.id.endsWith('bad') ? Buffer.alloc(bytes.length) : bytes) });
    await when(1, isUp);
    const bad = { ...imageOf(bytes), id: 'ami-bad' };
    expect(await collect(client, [{ nodeId: 1, requests: [startRequest(bad)] }])).toMatchObject([{ done: { ok: false, error: { code: 'ImageCorrupt' } } }]);
  });

  test('an image that is whole starts the VM that waited for it', async () => {
    const bytes = Buffer.alloc(3_000_000, 'image');
    const { client, when } = over([way(await node())], { imageSource: () => sourceOf(bytes) });
    await when(1, isUp);
    expect(await collect(client, [{ nodeId: 1, requests: [startRequest(imageOf(bytes))] }])).toMatchObject([{ done: { ok: true } }]);
  });

  test('a group goes to many nodes at once', async () => {
    const nodes = await Promise.all(Array.from({ length: 8 }, node));
    const { client, when } = over(nodes.map((n) => way(n)));
    await Promise.all(nodes.map((_, i) => when(i + 1, isUp)));
    const answers = await collect(client, nodes.map((_, i) => ({ nodeId: i + 1, requests: [listRequest(), listRequest()] })));
    expect(answers.filter((a) => 'done' in a && a.done.ok)).toHaveLength(16);
  });

  test.each([
    ['lines', 'yes', /no hello among the first 50 lines; the node says "y" instead/],
    ['bytes', 'cat /dev/zero', /a line is too long/],
  ])('a node that sends endless %s is let go of, and others are served', async (_, command, reason) => {
    const [bad, good] = [await node(), await node()];
    writeFileSync(bad.authorizedKeys, line.replace(/command="[^"]*"/, `command="${command}"`));
    const { client, when } = over([way(bad), way(good)], { reconnectMaxMs: 60_000 });
    expect((await when(1, isDown)).reason).toMatch(reason);
    await client.ask(2, listRequest());
  });

  test('closing leaves no connection and no agent', async () => {
    const { client, when } = over([way(await node())]);
    const { hello } = await when(1, isUp);
    await client.close();
    await expect.poll(() => alive(hello?.pid ?? 0), { timeout: 60_000 }).toBe(false);
  });
});

async function* sourceOf(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** A process that ended but was not waited for (an init that does not) is not alive. */
function alive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}
