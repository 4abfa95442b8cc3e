/** Files and user data that a client wants in its VM: keys go the way of keys, other files that of user data, as cloud-init reads them. */
import type { CreateRequest } from '../lease/types.ts';
import type { SoapObject } from '../soap/schema/codec.ts';
import { creationFault } from './faults.ts';

const LONGEST_FILE = 40_960;
const MOST_KEYS = 64;
const KEYS_FILE = /^\/(?:root|home\/[^/]+)\/\.ssh\/authorized_keys$/;
/** One key a line, as OpenSSH writes them; what else the line says is for its guest to judge. */
const KEY_LINE = /^[\x20-\x7e]{1,8192}$/;

interface FileWrite {
  readonly path: string;
  readonly content: string;
}

/** @throws BaseFault */
export function customization(optional: SoapObject): Pick<CreateRequest, 'publicKey' | 'userData'> {
  if (optional['stageIn'] !== undefined || optional['stageOut'] !== undefined) throw creationFault('staging is not offered');
  if (optional['credentialToCopy'] !== undefined) throw creationFault('images come from the site’s repository: no credential is needed for them');
  const files = ((optional['filewrite'] ?? []) as readonly SoapObject[]).map(fileWrite);
  const keys = files.filter((f) => KEYS_FILE.test(f.path)).flatMap(keyLines);
  if (keys.length > MOST_KEYS) throw creationFault(`at most ${MOST_KEYS} SSH keys can be given to a VM`);
  const others = files.filter((f) => !KEYS_FILE.test(f.path));
  const given = typeof optional['mdServerUserdata'] === 'string' ? optional['mdServerUserdata'] : undefined;
  if (others.length > 0 && given !== undefined) throw creationFault(`file writes travel in the user data here, and there is some already: write ${others.map((f) => f.path).join(', ')} by your own user data`);
  const userData = given ?? (others.length > 0 ? cloudConfig(others) : undefined);
  return { ...(keys.length === 0 ? {} : { publicKey: keys.join('\n') }), ...(userData === undefined ? {} : { userData: Buffer.from(userData) }) };
}

function fileWrite(task: SoapObject): FileWrite {
  const [content, path] = [task['content'], task['pathOnVM']];
  if (typeof content !== 'string' || typeof path !== 'string' || content === '' || path === '') throw creationFault('a file write needs content and a path');
  if (content.length > LONGEST_FILE) throw creationFault(`${path}: a file has at most ${LONGEST_FILE} characters`);
  if (!/^\/[\x21-\x7e]{1,255}$/.test(path) || path.split('/').includes('..')) throw creationFault(`${JSON.stringify(path.slice(0, 100))} is no absolute path of a file`);
  return { path, content };
}

function keyLines({ path, content }: FileWrite): string[] {
  const lines = content.split('\n').map((l) => l.trim()).filter((l) => l !== '' && !l.startsWith('#'));
  if (!lines.every((l) => KEY_LINE.test(l))) throw creationFault(`${path}: there are characters that no key has`);
  return lines;
}

/** JSON is YAML. */
const cloudConfig = (files: readonly FileWrite[]): string => `#cloud-config\n${JSON.stringify({ write_files: files.map(({ path, content }) => ({ path, content })) })}\n`;
