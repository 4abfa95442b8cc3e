/** The paper that a pilot is given with its job: one JSON object, on standard input or in a file that only its user can read. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { within } from '../../control/agent/clock.ts';
import type { Clock } from '../../control/agent/clock.ts';
import { SLOT_ID } from '../protocol.ts';
import type { Credentials } from '../protocol.ts';
import { isContacts } from './contacts.ts';
import { EXIT } from './stages.ts';
import { PilotError } from './types.ts';

const MAX_BYTES = 64 * 1024;
const STDIN_MS = 10_000;
const HEX_32 = /^[0-9a-f]{32}$/;

/** @throws PilotError badArguments or badEnvironment; never with what was read */
export async function readCredentials(from: string, slot: string, stdin: Readable, clock: Clock): Promise<Credentials> {
  const credentials = parseCredentials(from === '-' ? await readLine(stdin, clock) : readOwnFile(from));
  if (credentials.slot !== slot) throw new PilotError(EXIT.badArguments, `the credentials are those of another slot than ${slot}`);
  return credentials;
}

/** The first line: a launcher may keep the stream open. */
async function readLine(stdin: Readable, clock: Clock): Promise<string> {
  const line = new Promise<string>((resolve, reject) => {
    let held = Buffer.alloc(0);
    const end = (): void => resolve(held.toString('utf8'));
    stdin.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk]);
      if (held.includes(10)) resolve(held.toString('utf8', 0, held.indexOf(10)));
      else if (held.length > MAX_BYTES) reject(new PilotError(EXIT.badArguments, `credentials are longer than ${MAX_BYTES} bytes`));
    });
    stdin.on('end', end).on('error', end);
  });
  try {
    return await within(clock, STDIN_MS, line, () => new PilotError(EXIT.badEnvironment, `no credentials came on standard input within ${STDIN_MS / 1000} s`));
  } finally {
    stdin.removeAllListeners().on('error', () => undefined).destroy();
  }
}

function readOwnFile(file: string): string {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (e) {
    throw new PilotError(EXIT.badEnvironment, `credentials cannot be read: ${(e as Error).message}`);
  }
  try {
    const { uid, mode, size } = fstatSync(fd);
    const trouble = (mode & constants.S_IFMT) !== constants.S_IFREG ? 'is no file'
      : uid !== process.getuid?.() ? `belongs to user ${uid}`
      : (mode & 0o077) !== 0 ? 'can be read by others; run: chmod 600'
      : size > MAX_BYTES ? `is longer than ${MAX_BYTES} bytes` : undefined;
    if (trouble !== undefined) throw new PilotError(EXIT.badEnvironment, `credentials file ${file} ${trouble}`);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

function parseCredentials(text: string): Credentials {
  let given: Record<string, unknown>;
  try {
    given = JSON.parse(text) as Record<string, unknown>;
  } catch {
    // The parser's own words would show what it read.
    throw new PilotError(EXIT.badArguments, 'the credentials are not one line of JSON');
  }
  const { slot, contacts, secret, nonce, channel, ca } = Object(given) as Record<string, unknown>;
  const wrong = [
    typeof slot === 'string' && SLOT_ID.test(slot) ? [] : ['slot'],
    isContacts(contacts) ? [] : ['contacts'],
    isHex(secret) ? [] : ['secret'],
    isHex(nonce) ? [] : ['nonce'],
    typeof channel === 'boolean' ? [] : ['channel'],
    ca === undefined || typeof ca === 'string' ? [] : ['ca'],
  ].flat();
  if (wrong.length > 0) throw new PilotError(EXIT.badArguments, `the credentials lack, or have in a wrong form: ${wrong.join(', ')}`);
  return given as unknown as Credentials;
}

const isHex = (v: unknown): v is string => typeof v === 'string' && HEX_32.test(v);
