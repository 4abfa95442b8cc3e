/**
 * An agent behind sshd: one connection a node, one channel on it. A node of our own starts its agent by the operating key's
 * forced command; on a borrowed node the command joins the agent that the slot's pilot runs.
 */
import { readFile, stat } from 'node:fs/promises';
import type { Client, ClientChannel } from 'ssh2';
import type { Context } from '../../platform/context.ts';
import type { NodeAccess } from '../types.ts';
import { connectSsh, describeTarget, oneOf, pinnedTo, type HostCheck } from '../ssh/connect.ts';
import { shellQuote } from '../ssh/remote.ts';
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

export type SshAccess = NodeAccess & { transport: 'ssh' | 'slot-ssh' };

export function sshTransport(ctx: Context, access: SshAccess, options: SshOptions): Transport {
  return {
    describe: describeTarget(access),
    async open(signal) {
      const pins = pinsOf(access);
      const privateKey = await readOperatingKey(options.privateKeyFile);
      signal.throwIfAborted();
      const client = await connectSsh({
        target: access,
        identities: [{ kind: 'key', privateKey, name: 'the operating key' }],
        checkHost: checkFor(access, pins),
        expectType: pins.flatMap((pin) => keyType(pin) ?? []),
      }, signal);
      return linkTo(client, await startAgent(client, commandFor(access), signal), ctx);
    },
  };
}

/** A key of a type that this program does not know cannot be shown to it: the others count. */
function pinsOf(access: SshAccess): readonly Buffer[] {
  const pins = (access.transport === 'ssh' ? [access.hostKey] : access.hostKeys).flatMap((key) => readPin(key) ?? []);
  if (pins.length > 0) return pins;
  throw new Error(access.transport === 'ssh'
    ? 'the pinned host key cannot be read; add the node again'
    : `no host key of ${access.host} is known: its pilot told none that can be read; set control.transport to "pilot", or let pilots read the .pub files in /etc/ssh`);
}

function checkFor(access: SshAccess, pins: readonly Buffer[]): HostCheck {
  const [pin] = pins;
  if (access.transport === 'ssh' && pin !== undefined) return pinnedTo(pin);
  return oneOf(pins, 'put its key into pilot.ssh_known_hosts, or, where that is empty, see that /etc/ssh on the node has the keys that its sshd shows');
}

/** The key may be bound to a forced command; then this is what sshd hands that command as SSH_ORIGINAL_COMMAND. */
function commandFor(access: SshAccess): string {
  if (access.transport === 'ssh') return COMMAND;
  return ['workspace-pilot', 'control', '--state', access.stateDir].map(shellQuote).join(' ');
}

async function readOperatingKey(file: string): Promise<Buffer> {
  const { mode } = await stat(file);
  if ((mode & 0o077) !== 0) throw new Error(`operating key ${file} can be read by others; run "chmod 600 ${file}"`);
  return readFile(file);
}

function startAgent(client: Client, command: string, signal: AbortSignal): Promise<ClientChannel> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      client.destroy();
      reject(new Error(why));
    };
    const onAbort = (): void => fail('the agent was not started in time');
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    client.exec(command, (e, channel) => {
      signal.removeEventListener('abort', onAbort);
      if (e !== undefined) fail(`the host does not start the agent: ${e.message}`);
      else resolve(channel);
    });
  });
}

function linkTo(client: Client, channel: ClientChannel, { clock, log }: Context): AgentLink {
  const { lastWords, ended: agentEnded } = logStderr(channel.stderr, clock, log);
  let failure: string | undefined;
  let exit: string | undefined;
  channel.on('error', (e: Error) => { failure ??= e.message; });
  channel.on('exit', (code: number | null, signalName?: string) => {
    agentEnded();
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
    lastWords,
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
