/** One SSH connection with its host key checked, and every failure as a sentence. */
import { Client, type AuthHandlerMiddleware, type AuthenticationType, type ConnectConfig } from 'ssh2';
import { algorithmsFor, fingerprint } from './hostkeys.ts';

export interface SshTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
}

export type Identity =
  | { readonly kind: 'key'; readonly privateKey: Buffer; readonly name: string; readonly passphrase?: string }
  | { readonly kind: 'agent'; readonly socket: string };

/** Takes the key that the host shows: undefined = accepted, else why not. */
export type HostCheck = (blob: Buffer) => string | undefined;

export type SshFailureKind = 'unreachable' | 'host-key' | 'authentication';

export class SshFailure extends Error {
  override readonly name = 'SshFailure';
  constructor(readonly kind: SshFailureKind, message: string, options?: { cause?: unknown }) {
    super(message, options);
  }
}

export interface ConnectOptions {
  readonly target: SshTarget;
  readonly identities: readonly Identity[];
  readonly checkHost: HostCheck;
  /** Type of the key that the host is expected to show, or types, when known. */
  readonly expectType?: string | readonly string[] | undefined;
}

export const describeTarget = ({ host, port, user }: SshTarget): string => `${user}@${host.includes(':') ? `[${host}]` : host}:${port}`;

/** Refuses every key but the pinned one. `mend` says what to do when the host was installed anew. */
export function pinnedTo(pin: Buffer, mend = 'remove the node and add it again with the new key'): HostCheck {
  return (blob) => (blob.equals(pin)
    ? undefined
    : `the host key changed: pinned ${fingerprint(pin)}, shown ${fingerprint(blob)}; nothing was sent. If the host was installed anew, ${mend}`);
}

/** Refuses every key but those that are known, naming them all. `mend` says what to do when it is the right host. */
export function oneOf(known: readonly Buffer[], mend: string): HostCheck {
  return (blob) => (known.some((key) => blob.equals(key))
    ? undefined
    : `the host key is not known: known ${known.map(fingerprint).join(', ')}, shown ${fingerprint(blob)}; nothing was sent. If this is the right host, ${mend}`);
}

/** Resolves with an authenticated connection that the caller must end; on failure nothing stays open. */
export function connectSsh(options: ConnectOptions, signal: AbortSignal): Promise<Client> {
  const { target } = options;
  const where = describeTarget(target);
  return new Promise<Client>((resolve, reject) => {
    const client = new Client();
    let refusal: string | undefined;
    const fail = (e: Error): void => {
      signal.removeEventListener('abort', onAbort);
      client.destroy();
      reject(e);
    };
    const onAbort = (): void => fail(new SshFailure('unreachable', `${where}: ${messageOf(signal.reason)}`));
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    client.on('error', (e) => fail(refusal === undefined ? sentence(e, options) : new SshFailure('host-key', `${where}: ${refusal}`)));
    client.once('close', () => fail(new SshFailure('unreachable', `${where}: the host closed the connection`)));
    client.once('ready', () => {
      signal.removeEventListener('abort', onAbort);
      client.setNoDelay(true);
      resolve(client);
    });
    client.connect({
      ...settings(options),
      hostVerifier: (blob: Buffer) => {
        refusal = options.checkHost(blob);
        return refusal === undefined;
      },
    });
  });
}

function settings({ target, identities, expectType }: ConnectOptions): ConnectConfig {
  return {
    host: target.host,
    port: target.port,
    username: target.user,
    // The caller's signal is the deadline.
    readyTimeout: 0,
    algorithms: { serverHostKey: algorithmsFor(expectType) },
    authHandler: offerInTurn(target.user, identities),
  };
}

function offerInTurn(username: string, identities: readonly Identity[]): AuthHandlerMiddleware {
  const left = [...identities];
  let asked = false;
  return (_methods, _partial, next) => {
    // "none" first, as OpenSSH does: the server's answer names the methods that it takes.
    if (!asked) {
      asked = true;
      return next({ type: 'none', username });
    }
    const identity = left.shift();
    // ssh2 takes `false` for "nothing left", which its types do not know.
    if (identity === undefined) return next(false as unknown as AuthenticationType);
    if (identity.kind === 'agent') return next({ type: 'agent', username, agent: identity.socket });
    return next({
      type: 'publickey', username, key: identity.privateKey,
      ...(identity.passphrase === undefined ? {} : { passphrase: identity.passphrase }),
    });
  };
}

function sentence(e: Error & { level?: string; code?: string }, { target, identities }: ConnectOptions): SshFailure {
  const where = describeTarget(target);
  if (e.level === 'client-authentication') {
    const tried = identities.map((i) => (i.kind === 'agent' ? 'the SSH agent' : i.name)).join(', ') || 'none';
    return new SshFailure('authentication', `${where}: the host accepts none of the keys offered (${tried})`, { cause: e });
  }
  const known: Record<string, string> = {
    ECONNREFUSED: 'nothing listens on the port', EHOSTUNREACH: 'no route to the host', ENETUNREACH: 'no route to the network',
    ENOTFOUND: 'the host name is unknown', EAI_AGAIN: 'the host name cannot be resolved now', ETIMEDOUT: 'no answer',
    ECONNRESET: 'the host closed the connection',
  };
  return new SshFailure('unreachable', `${where}: ${known[e.code ?? ''] ?? e.message}`, { cause: e });
}

function messageOf(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
