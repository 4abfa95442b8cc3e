/** Many nodes in one process: an SSH server with a port for each, behind each an agent with simulated VMs, as `sshd` has it. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { realClock } from '../../src/control/agent/clock.ts';
import { DEFAULTS } from '../../src/control/agent/config.ts';
import { openAgent } from '../../src/control/agent/open.ts';

const CHILD = 'ssh-nodes-child';

export interface SshNodes {
  /** `ssh-ed25519 AAAA…`, the same of all. */
  readonly hostKey: string;
  readonly ports: readonly number[];
  readonly process: ChildProcess;
}

/** Call first: in the child this serves and never returns. */
export async function serveIfChild(): Promise<void> {
  const [, , what, dir, count] = process.argv;
  if (what !== CHILD || dir === undefined) return;
  const key = ssh2.utils.generateKeyPairSync('ed25519');
  const ports = await Promise.all(Array.from({ length: Number(count) }, (_, i) => node(key.private, join(dir, `node-${i + 1}`))));
  process.send?.({ hostKey: key.public.split(' ').slice(0, 2).join(' '), ports });
  await once(process, 'disconnect');
  process.exit(0);
}

/** Whoever connects is the operating key's owner: what authentication costs is a signature, as everywhere. */
async function node(hostKey: string, stateDir: string): Promise<number> {
  const agent = await openAgent({
    stateDir, driver: 'simulated', clock: realClock, persistent: true,
    config: { ...DEFAULTS, simulated: { ...DEFAULTS.simulated, startMs: 0, stopMs: 0 } },
  });
  const server = new ssh2.Server({ hostKeys: [hostKey] }, (client) => {
    client.on('error', () => undefined);
    client.on('authentication', (a) => (a.method === 'publickey' ? a.accept() : a.reject(['publickey'])));
    client.on('session', (accept) => {
      accept().on('exec', (take) => {
        const channel = take();
        agent.serve({ input: channel, output: channel, name: 'ssh' });
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

export async function startSshNodes(dir: string, count: number): Promise<SshNodes> {
  const child = fork(process.argv[1] ?? '', [CHILD, dir, String(count)]);
  const [{ hostKey, ports }] = await once(child, 'message') as [{ hostKey: string; ports: number[] }];
  return { hostKey, ports, process: child };
}
