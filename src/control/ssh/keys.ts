/**
 * The operating key: the service's own, made at first use; nodes let it start the agent and nothing else. While it is being
 * replaced the next one, then the old one, lies beside it.
 */
import { chownSync, existsSync, linkSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import ssh2, { type ParsedKey } from 'ssh2';
import { replaceFile, syncDirectory } from '../../platform/durable.ts';
import { makeDirectory } from '../../platform/make-directory.ts';
import { fingerprint } from './hostkeys.ts';

// `utils` is not among the names that Node finds in this CommonJS package.
const { utils } = ssh2;

/** Comment of the key, by which its line in a node's authorized_keys is recognized. */
export const OPERATE_COMMENT = 'nimbus-operate';
const FILE = 'operate_ed25519';
const NEXT = `${FILE}.next`;
const OLD = `${FILE}.old`;

export interface OperatingKey {
  /** OpenSSH private key without passphrase, 0600. */
  readonly privateFile: string;
  /** `ssh-ed25519 AAAA… nimbus-operate` */
  readonly publicLine: string;
}

/** Reads the key in `directory`, or makes it. @throws Error with a sentence when a key is there that must not be used */
export function operatingKey(directory: string): OperatingKey {
  const privateFile = join(directory, FILE);
  if (!existsSync(privateFile)) makeKey(directory, privateFile);
  return readPair(privateFile);
}

/** As `ssh-keygen -l` prints it; null: the public half cannot be read. */
export function operatingKeyFingerprint(directory: string): string | null {
  try {
    return fingerprint(Buffer.from(readFileSync(join(directory, `${FILE}.pub`), 'utf8').split(' ')[1] ?? '', 'base64'));
  } catch {
    return null;
  }
}

/** The key that shall follow, made at first use, of the same owner. */
export function nextKey(directory: string): OperatingKey {
  const [privateFile, now] = [join(directory, NEXT), statSync(operatingKey(directory).privateFile)];
  if (!existsSync(privateFile)) makeKey(directory, privateFile);
  for (const file of [privateFile, `${privateFile}.pub`]) chownSync(file, now.uid, now.gid);
  return readPair(privateFile);
}

/** The key before, while nodes may still know it. */
export function oldKey(directory: string): OperatingKey | undefined {
  const privateFile = join(directory, OLD);
  return existsSync(privateFile) ? readPair(privateFile) : undefined;
}

/** The next key takes the place of the operating key at once; at no moment is there none. */
export function switchKeys(directory: string): void {
  const at = (name: string): string => join(directory, name);
  rmSync(at(OLD), { force: true });
  linkSync(at(FILE), at(OLD));
  renameSync(at(NEXT), at(FILE));
  renameSync(at(`${NEXT}.pub`), at(`${FILE}.pub`));
  syncDirectory(directory);
}

export function forgetOldKey(directory: string): void {
  rmSync(join(directory, OLD), { force: true });
}

function readPair(privateFile: string): OperatingKey {
  if ((statSync(privateFile).mode & 0o077) !== 0) throw new Error(`operating key ${privateFile} can be read by others; run "chmod 600 ${privateFile}"`);
  return { privateFile, publicLine: publicLine(readKey(readFileSync(privateFile), privateFile)) };
}

function makeKey(directory: string, privateFile: string): void {
  makeDirectory(directory, 0o700);
  const pair = generate();
  replaceFile(privateFile, pair.private, 0o600);
  replaceFile(`${privateFile}.pub`, `${pair.public}\n`, 0o644);
}

/** ssh2 1.17 cuts leading zero bytes off the public half, so that one key in 256 cannot be read: another is made. */
function generate(): { readonly private: string; readonly public: string } {
  for (;;) {
    const pair = utils.generateKeyPairSync('ed25519', { comment: OPERATE_COMMENT });
    if (!(utils.parseKey(pair.private) instanceof Error)) return pair;
  }
}

/** @throws Error with a sentence when the text is no private key or needs a passphrase that was not given */
export function readKey(text: Buffer, name: string, passphrase?: string): ParsedKey {
  const parsed: ParsedKey | ParsedKey[] | Error = utils.parseKey(text, passphrase);
  if (parsed instanceof Error) throw new Error(`${name}: ${parsed.message}`);
  const key = Array.isArray(parsed) ? (parsed as ParsedKey[])[0] : parsed;
  if (key === undefined) throw new Error(`${name}: no key in it`);
  return key;
}

function publicLine(key: ParsedKey): string {
  return `${key.type} ${key.getPublicSSH().toString('base64')} ${OPERATE_COMMENT}`;
}
