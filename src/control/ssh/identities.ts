/** The keys with which an administrator installs: the one named, else what `ssh` itself would offer. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Identity } from './connect.ts';
import { readKey } from './keys.ts';

/** ssh_config(5), IdentityFile: the defaults that ssh2 can use. */
const DEFAULT_FILES = ['id_ed25519', 'id_ecdsa', 'id_rsa'];

export interface IdentityOptions {
  /** `--install-key`: then no other key is offered. */
  readonly installKey?: string | undefined;
  /** SSH_AUTH_SOCK */
  readonly agentSocket?: string | undefined;
  /** The administrator's home directory. */
  readonly home: string;
  /** Asked for the passphrase of the key that was named; default keys that need one are left to the agent. */
  readonly passphrase?: (file: string) => Promise<string>;
}

/** @throws Error with a sentence when there is no key to offer */
export async function installIdentities(options: IdentityOptions): Promise<Identity[]> {
  if (options.installKey !== undefined) return [await named(options.installKey, options.passphrase)];
  const agent: Identity[] = options.agentSocket === undefined || options.agentSocket === '' ? [] : [{ kind: 'agent', socket: options.agentSocket }];
  const files = DEFAULT_FILES.map((f) => join(options.home, '.ssh', f)).filter((f) => existsSync(f) && opens(f));
  const all = [...agent, ...files.map((f): Identity => ({ kind: 'key', privateKey: readFileSync(f), name: f }))];
  if (all.length === 0) throw new Error('no key to install with: start ssh-agent and add yours, or name a private key with --install-key');
  return all;
}

async function named(file: string, passphrase: IdentityOptions['passphrase']): Promise<Identity> {
  const privateKey = readFileSync(file);
  if (opens(file) || passphrase === undefined) {
    readKey(privateKey, file);
    return { kind: 'key', privateKey, name: file };
  }
  const secret = await passphrase(file);
  readKey(privateKey, file, secret);
  return { kind: 'key', privateKey, name: file, passphrase: secret };
}

function opens(file: string): boolean {
  try {
    readKey(readFileSync(file), file);
    return true;
  } catch {
    return false;
  }
}
