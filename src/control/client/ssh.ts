/** An agent behind sshd: one connection a node, one channel on it, started by the operating key's forced command. */
import { readFile, stat } from 'node:fs/promises';
import type { Client, ClientChannel } from 'ssh2';
import type { Context } from '../../platform/context.ts';
import type { NodeAccess } from '../types.ts';
import { connectSsh, describeTarget, pinnedTo } from '../ssh/connect.ts';
import { keyType, readPin } from '../ssh/hostkeys.ts';
import { logStderr } from './stderr.ts';
import type { AgentLink, Transport } from './transport.ts';

/** The server runs the key's forced command whatever is asked; this is for its log. */
const COMMAND = 'workspace-control serve';

/** A peer that is gone would never confirm an orderly end. */
const GOODBYE_MS = 1_000;

export interface SshOptions {
  /** OpenSSH private key, 0600. */
  readonly privateKeyFile: string;
}

export function sshTransport(ctx: Context, access: NodeAccess & { transport: 'ssh' }, options: SshOptions): Transport {
  return {
    describe: describeTarget(access),
    async open(signal) {
      const pin = readPin(access.hostKey);
      if (pin === undefined) throw new Error('the pinned host key cannot be read; add the node again');
      const privateKey = await readOperatingKey(options.privateKeyFile);
      signal.throwIfAborted();
      const client = await connectSsh({
        target: access,
        identities: [{ kind: 'key', privateKey, name: 'the operating key' }],
        checkHost: pinnedTo(pin),
        expectType: keyType(pin),
      }, signal);
      return linkTo(client, await startAgent(client, signal), ctx);
    },
  };
}

async function readOperatingKey(file: string): Promise<Buffer> {
  const { mode } = await stat(file);
  if ((mode & 0o077) !== 0) throw new Error(`operating key ${file} can be read by others; run "chmod 600 ${file}"`);
  return readFile(file);
}

function startAgent(client: Client, signal: AbortSignal): Promise<ClientChannel> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      client.destroy();
      reject(new Error(why));
    };
    const onAbort = (): void => fail('the agent was not started in time');
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    client.exec(COMMAND, (e, channel) => {
      signal.removeEventListener('abort', onAbort);
      if (e !== undefined) fail(`the host does not start the agent: ${e.message}`);
      else resolve(channel);
    });
  });
}

function linkTo(client: Client, channel: ClientChannel, { clock, log }: Context): AgentLink {
  const lastWords = logStderr(channel.stderr, log);
  let failure: string | undefined;
  let exit: string | undefined;
  channel.on('error', (e: Error) => { failure ??= e.message; });
  channel.on('exit', (code: number | null, signalName?: string) => {
    exit = code === null ? `the agent was ended by ${signalName ?? 'a signal'}` : `the agent exited with code ${code}`;
  });
  client.on('error', (e) => { failure ??= e.message; });
  const ended = new Promise<string>((resolve) => {
    const end = (): void => {
      const words = lastWords();
      resolve(`${failure ?? exit ?? 'the connection was closed'}${words === undefined ? '' : `: ${words}`}`);
    };
    channel.once('close', () => { end(); client.end(); });
    client.once('close', end);
  });
  let closed = false;
  return {
    readable: channel,
    writable: channel,
    ended,
    close(how) {
      if (closed) return;
      closed = true;
      if (how === 'broken') return client.destroy();
      client.end();
      const timer = clock.after(GOODBYE_MS, () => client.destroy(), true);
      client.once('close', () => timer.cancel());
    },
  };
}
