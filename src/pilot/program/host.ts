/** What the pilot knows of the machine that it runs on, and of itself there. */
import { readFileSync, readdirSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { HOST_NAME } from '../protocol.ts';

const HOST_KEY_FILE = /^ssh_host_[a-z0-9]+_key\.pub$/;
const HOST_KEY = /^((?:ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2})(?:\s|$)/;
const MAX_KEYS = 8;
const MAX_KEY = 4096;

/**
 * The node as the batch system calls it, when it says so (`SLURMD_NODENAME`: srun(1), "OUTPUT ENVIRONMENT VARIABLES"); else
 * the host name to its first dot, as the original has it.
 */
export function nodeName(env: NodeJS.ProcessEnv): string {
  const said = env['SLURMD_NODENAME'];
  if (said !== undefined && HOST_NAME.test(said)) return said;
  const own = hostname().split('.')[0] ?? '';
  return HOST_NAME.test(own) ? own : 'localhost';
}

/** The account under which the pilot runs; its number where it has no name. */
export function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? 0);
  }
}

/** Public host keys of this node's SSH server, `type base64` each; empty where there are none. */
export function hostKeys(dir = '/etc/ssh'): string[] {
  try {
    return readdirSync(dir).filter((name) => HOST_KEY_FILE.test(name)).sort().flatMap((name) => keyIn(join(dir, name))).slice(0, MAX_KEYS);
  } catch {
    return [];
  }
}

function keyIn(file: string): string[] {
  try {
    const key = HOST_KEY.exec(readFileSync(file, 'utf8'))?.[1];
    return key === undefined || key.length > MAX_KEY ? [] : [key];
  } catch {
    return [];
  }
}
