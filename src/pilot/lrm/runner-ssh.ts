/**
 * Runs a batch system's commands on a login node: one SSH connection is kept and each command is a channel on it. sshd hands
 * the line to the user's shell, so every word is quoted. coreutils' `timeout` ends a command there when this side has given it up.
 */
import { readFile } from 'node:fs/promises';
import type { Client, ClientChannel } from 'ssh2';
import type { Context } from '../../platform/context.ts';
import { DeadlineExceeded, sleep, withDeadline } from '../../platform/deadline.ts';
import { errorText, StartError } from '../../platform/errors.ts';
import { connectSsh, describeTarget, pinnedTo, type SshTarget } from '../../control/ssh/connect.ts';
import { keyType, readPin } from '../../control/ssh/hostkeys.ts';
import { shellQuote } from '../../control/ssh/remote.ts';
import { LONGEST_OUTPUT, outputOf } from './output.ts';
import type { CommandRunner } from './types.ts';

/** sshd allows ten sessions on a connection unless told otherwise (sshd_config(5), MaxSessions). */
const MOST_CHANNELS = 8;
/** sshd counts a session that has ended until it has cleared it away: a command that it has no room for is asked for again. */
const ROOM_PAUSE_MS = 50;
const MOST_ASKINGS = 40;
const MOST_WAITING = 1_000;
/** A command is ended on the far side a moment before this side gives up, so that its words still arrive. */
const EARLIER_S = 1;

export interface LoginNode extends SshTarget {
  /** OpenSSH private key. */
  readonly keyFile: string;
  /** As known_hosts has it, with or without the names before it. */
  readonly hostKey: string;
}

export interface SshRunner extends CommandRunner {
  /** Ends the connection; commands that run fail. */
  close(): void;
}

/** @throws StartError when the host key cannot be read */
export function sshRunner(ctx: Context, node: LoginNode): SshRunner {
  const pin = pinIn(node.hostKey);
  const where = describeTarget(node);
  if (pin === undefined) {
    throw new StartError(`login_node.host_key is not the host key of ${node.host}; set it to what "ssh-keyscan -t ed25519 -p ${node.port} ${node.host}" prints, once you have compared its fingerprint with the host's own`);
  }
  let kept: Promise<Client> | undefined;
  const connection = (): Promise<Client> => {
    if (kept !== undefined) return kept;
    const opening = openConnection(ctx, node, pin);
    kept = opening;
    const forget = (): void => { if (kept === opening) kept = undefined; };
    opening.then((client) => client.once('close', forget), forget);
    return opening;
  };
  const lost = (): void => {
    void kept?.then((client) => client.destroy(), () => undefined);
    kept = undefined;
  };
  const turns = turnstile();
  return {
    async run(argv, { input = '', timeoutMs }) {
      const started = ctx.clock.monotonic();
      const out = outputOf(LONGEST_OUTPUT);
      let [code, failure]: [number | null, string | null] = [null, null];
      let leave: (() => void) | undefined;
      let over = false;
      const work = async (): Promise<number> => {
        leave = await turns.enter();
        // Nobody hears a command's answer any more whose turn comes after its deadline.
        if (over) {
          leave();
          throw new Error('its turn came too late');
        }
        const line = ['timeout', '-k', '1', String(Math.max(1, Math.floor(timeoutMs / 1000) - EARLIER_S)), 'env', 'LC_ALL=C', ...argv].map(shellQuote).join(' ');
        return channelResult(await openChannel(ctx, connection, line, () => over), input, out);
      };
      try {
        code = await withDeadline(ctx.clock, timeoutMs, argv[0] ?? '', work());
      } catch (e) {
        failure = `${where}: ${errorText(e)}`;
        // A connection on which nothing moves is no use to the next command either.
        if (e instanceof DeadlineExceeded) lost();
      } finally {
        over = true;
        leave?.();
      }
      return { code, ...out.texts(), failure, tookMs: ctx.clock.monotonic() - started };
    },
    close: lost,
  };
}

/** `TYPE BASE64` with names before it or a comment after it. */
function pinIn(line: string): Buffer | undefined {
  const words = line.trim().split(/\s+/);
  return words.map((type, i) => readPin(`${type} ${words[i + 1] ?? ''}`)).find((pin) => pin !== undefined);
}

async function openConnection(ctx: Context, node: LoginNode, pin: Buffer): Promise<Client> {
  const privateKey = await readFile(node.keyFile);
  const stop = new AbortController();
  const timer = ctx.clock.after(10_000, () => stop.abort(new Error('no connection within 10 s')));
  try {
    const client = await connectSsh({
      target: node, identities: [{ kind: 'key', privateKey, name: node.keyFile }], checkHost: pinnedTo(pin, 'put the new key into login_node.host_key'), expectType: keyType(pin),
    }, stop.signal);
    client.on('error', (e) => ctx.log.warn('the connection to the login node broke', { host: node.host, error: e.message }));
    return client;
  } finally {
    timer.cancel();
  }
}

/** Nothing has run when this rejects. `over`: nobody waits for it any more. */
async function openChannel({ clock }: Context, connection: () => Promise<Client>, line: string, over: () => boolean): Promise<ClientChannel> {
  for (let asking = 1; ; asking += 1) {
    const client = await connection();
    if (over()) throw new Error('its turn came too late');
    try {
      return await new Promise<ClientChannel>((resolve, reject) => client.exec(line, (e, channel) => (e === undefined ? resolve(channel) : reject(e))));
    } catch (e) {
      // ssh2 has the reason code of a refusal (RFC 4254, 5.1) on the error; anything else is the connection's end.
      if (typeof (e as { reason?: unknown }).reason !== 'number' || asking === MOST_ASKINGS) throw new Error(`the host runs no command: ${errorText(e)}`, { cause: e });
      await sleep(clock, ROOM_PAUSE_MS);
    }
  }
}

function channelResult(channel: ClientChannel, input: string, out: ReturnType<typeof outputOf>): Promise<number> {
  return new Promise((resolve, reject) => {
    let code: number | null = null;
    let by = 'the connection';
    channel.on('data', (data: Buffer) => {
      if (out.stdout(data)) return;
      channel.destroy();
      reject(new Error(`the command said more than ${LONGEST_OUTPUT / 1024 / 1024} MiB`));
    });
    channel.stderr.on('data', (data: Buffer) => out.stderr(data));
    channel.on('error', (err: Error) => reject(err));
    channel.on('exit', (status: number | null, signal?: string) => { code = status; by = signal ?? by; });
    channel.on('close', () => {
      if (code === null) reject(new Error(`the command was ended by ${by}`));
      else if (code === 124 || code === 137) reject(new Error('the command was out of time and ended'));
      else resolve(code);
    });
    channel.end(input);
  });
}

/** Lets some in at a time, the others in their order. */
function turnstile(): { enter(): Promise<() => void> } {
  let inside = 0;
  const waiting: Array<() => void> = [];
  const leave = (): void => {
    inside -= 1;
    waiting.shift()?.();
  };
  const once = (): (() => void) => {
    inside += 1;
    let left = false;
    return () => {
      if (!left) leave();
      left = true;
    };
  };
  return {
    enter() {
      if (inside < MOST_CHANNELS) return Promise.resolve(once());
      if (waiting.length >= MOST_WAITING) return Promise.reject(new Error(`${MOST_WAITING} commands wait already`));
      return new Promise((resolve) => waiting.push(() => resolve(once())));
    },
  };
}
