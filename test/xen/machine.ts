/**
 * Xen with a Debian dom0 in QEMU, reached over SSH. QEMU's user network forwards a port of 127.0.0.1 to it: no tap, no bridge,
 * nothing of the host is changed. The disk is a snapshot: what a run writes is gone with it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import ssh2, { type Client } from 'ssh2';
import { connectSsh, pinnedTo, SshFailure, type ConnectOptions } from '../../src/control/ssh/connect.ts';
import { readKey } from '../../src/control/ssh/keys.ts';
import { remoteFiles, runRemote, type CommandResult } from '../../src/control/ssh/remote.ts';
import { realRandom } from '../../src/platform/real.ts';
import { firstStage, READY } from './boot-files.ts';

/** The host's 127.0.0.1 as dom0 sees it. */
export const HOST_FROM_DOM0 = '10.0.2.2';
/** What the machine has, in MB. dom0's share is the original's example node; Xen itself takes about 150. */
export const MACHINE_MB = 2304;
export const DOM0_MB = 2007;

const BOOT_MS = 240_000;
const COMMAND_MS = 60_000;
const END_MS = 10_000;
const RETRY_MS = 250;
const SERIAL_KEPT = 64 * 1024;

export interface RunOptions {
  /** Default one minute. */
  readonly timeoutMs?: number;
}

export interface XenMachine {
  /** Runs a command in dom0 as root. Its exit code is the caller's to judge. @throws Error when it has not ended in time */
  run(argv: readonly string[], options?: RunOptions): Promise<CommandResult>;
  /** The same, and its standard output. @throws Error with what it said, when it fails */
  must(argv: readonly string[], options?: RunOptions): Promise<string>;
  write(path: string, content: string | { readonly file: string }, mode?: number): Promise<void>;
  /** Undefined when there is no such file. */
  read(path: string): Promise<string | undefined>;
  /** The last 64 KiB of Xen's and dom0's console. */
  serial(): string;
  powerOff(): Promise<void>;
}

/** Resolves when dom0 says that it is up and takes commands. @param image a directory made by tools/xen/image.mjs */
export async function bootXen(image: string): Promise<XenMachine> {
  const scratch = mkdtempSync(join(tmpdir(), 'xen-'));
  const [host, user] = [0, 1].map(() => ssh2.utils.generateKeyPairSync('ed25519')) as [KeyPair, KeyPair];
  const port = await freePort();
  writeFileSync(join(scratch, 'initrd.gz'), gzipSync(firstStage(image, { host: host.private, authorized: user.public }), { level: 1 }), { mode: 0o600 });
  const qemu = start(image, scratch, port);
  const stop = async (client?: Client): Promise<void> => {
    client?.destroy();
    await qemu.end();
    rmSync(scratch, { recursive: true, force: true });
  };
  try {
    const signal = AbortSignal.timeout(BOOT_MS);
    await qemu.says(READY, signal);
    const pin = readKey(Buffer.from(host.private), 'the machine\'s host key').getPublicSSH();
    const client = await connected({
      target: { host: '127.0.0.1', port, user: 'root' },
      identities: [{ kind: 'key', privateKey: Buffer.from(user.private), name: 'the key of this boot' }],
      checkHost: pinnedTo(pin),
    }, signal);
    return await machine(client, qemu, stop);
  } catch (e) {
    await stop();
    throw new Error(`Xen did not come up: ${messageOf(e)}\n${qemu.serial()}`, { cause: e });
  }
}

/** sshd forks before it listens, so the first attempts may find nobody. */
async function connected(options: ConnectOptions, signal: AbortSignal): Promise<Client> {
  for (;;) {
    try {
      return await connectSsh(options, signal);
    } catch (e) {
      if (signal.aborted || !(e instanceof SshFailure && e.kind === 'unreachable')) throw e;
      await delay(RETRY_MS);
    }
  }
}

interface KeyPair {
  readonly private: string;
  readonly public: string;
}

async function machine(client: Client, qemu: Qemu, stop: (client: Client) => Promise<void>): Promise<XenMachine> {
  // A connection that breaks fails the command that uses it; without a listener it would end the process.
  client.on('error', () => undefined);
  const files = await remoteFiles(client, realRandom);
  const run: XenMachine['run'] = async (argv, { timeoutMs = COMMAND_MS } = {}) => {
    const late = new AbortController();
    try {
      return await Promise.race([
        runRemote(client, argv),
        delay(timeoutMs, undefined, { signal: late.signal }).then(() => { throw new Error(`${argv.join(' ')} in dom0 has not ended after ${timeoutMs} ms`); }),
        qemu.ended.then(() => { throw new Error(`the machine ended during ${argv.join(' ')}`); }),
      ]);
    } finally {
      late.abort();
    }
  };
  return {
    run,
    async must(argv, options) {
      const { code, stdout, stderr } = await run(argv, options);
      if (code !== 0) throw new Error(`${argv.join(' ')} in dom0 ended with ${code}: ${stderr.trim() || stdout.trim()}`);
      return stdout;
    },
    write: (path, content, mode = 0o644) => files.write(path, content, mode),
    read: (path) => files.read(path, 1024 * 1024),
    serial: qemu.serial,
    powerOff: () => stop(client),
  };
}

interface Qemu {
  /** Resolves when the console has shown the text. @throws Error when the machine ends before, or the signal's reason */
  says(text: string, signal: AbortSignal): Promise<void>;
  serial(): string;
  readonly ended: Promise<unknown>;
  end(): Promise<void>;
}

function start(image: string, scratch: string, port: number): Qemu {
  // setpriv: however the tests end, the kernel ends QEMU with them.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...qemuOptions(image, scratch, port)], { stdio: ['ignore', 'pipe', 'pipe'] });
  let console = '';
  const keep = (b: Buffer): void => { console = `${console}${b.toString('latin1')}`.slice(-SERIAL_KEPT); };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const ended = new Promise((resolve) => {
    child.once('close', resolve);
    child.once('error', (e) => { keep(Buffer.from(messageOf(e))); resolve(undefined); });
  });
  return {
    says: (text, signal) => new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      void ended.then(() => reject(new Error('QEMU ended')));
      child.stdout.on('data', () => { if (console.includes(text)) resolve(); });
    }),
    serial: () => console,
    ended,
    end: () => endProcess(child, ended),
  };
}

function qemuOptions(image: string, scratch: string, port: number): string[] {
  // A comma in a path would begin another option.
  const quoted = (path: string): string => path.replaceAll(',', ',,');
  return [
    '-M', 'pc,accel=tcg', '-cpu', 'qemu64', '-m', `${MACHINE_MB}`, '-nodefaults', '-display', 'none', '-no-reboot', '-serial', 'stdio',
    '-kernel', join(image, 'xen'), '-append', `console=com1 com1=115200,8n1 dom0_mem=${DOM0_MB}M,max:${DOM0_MB}M`,
    '-initrd', `${quoted(join(image, 'vmlinuz'))} console=hvc0 quiet,${quoted(join(scratch, 'initrd.gz'))}`,
    '-drive', `file=${quoted(join(image, 'dom0.img'))},format=raw,if=virtio,snapshot=on`,
    '-netdev', `user,id=net,hostfwd=tcp:127.0.0.1:${port}-10.0.2.15:22`, '-device', 'virtio-net-pci,netdev=net,romfile=',
  ];
}

async function endProcess(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  child.kill('SIGKILL');
  const late = new AbortController();
  await Promise.race([ended, delay(END_MS, undefined, { signal: late.signal }).then(() => { throw new Error(`QEMU (process ${child.pid}) does not end`); })]);
  late.abort();
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function messageOf(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
