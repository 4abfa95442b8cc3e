/**
 * `workspace-pilot control`: what the service's SSH runs on a borrowed node. It passes its standard input and output on to the
 * agent of one slot, and starts nothing. Which slot, `--state DIR` says; as the forced command of a key it learns it from the
 * command that the client asked for, which sshd leaves in SSH_ORIGINAL_COMMAND (sshd_config(5), ForceCommand).
 */
import { lstatSync, realpathSync } from 'node:fs';
import { basename, dirname, isAbsolute, normalize } from 'node:path';
import type { Clock } from '../../control/agent/clock.ts';
import { readGreeting, relay } from '../../control/agent/relay.ts';
import { connectTo } from '../../control/agent/socket.ts';
import { ANY_SLOT_ID, HOST_NAME } from '../protocol.ts';
import { readConfig } from './config.ts';
import { nodeName } from './host.ts';
import { wordsOf } from './words.ts';
import { EXIT } from './stages.ts';
import { PilotError } from './types.ts';

const ASKED = ['workspace-pilot', 'control', '--state'];
const MAX_COMMAND = 8192;

/** @throws PilotError badArguments, badEnvironment, or actionFailed when the agent has ended meanwhile */
export async function control(said: string | undefined, configPath: string | undefined, clock: Clock): Promise<number> {
  const uid = process.getuid?.() ?? 0;
  const stateDir = said ?? stateDirIn(process.env['SSH_ORIGINAL_COMMAND']);
  const { config } = readConfig(configPath, { uid, host: nodeName(process.env) });
  const fault = faultOf(stateDir, uid, configPath === undefined ? null : config.node.stateBase);
  if (fault !== null) throw new PilotError(EXIT.badArguments, `--state ${JSON.stringify(stateDir.slice(0, 200))} ${fault}`);
  const socket = await connectTo(stateDir);
  if (socket === undefined) throw new PilotError(EXIT.badEnvironment, `no pilot serves ${stateDir}; its slot is over, or runs on another node`);
  try {
    await relay(socket, await readGreeting(clock, socket, stateDir), { input: process.stdin, output: process.stdout, name: 'stdio' });
  } catch (e) {
    throw new PilotError(EXIT.actionFailed, (e as Error).message);
  }
  return EXIT.ok;
}

/** @throws PilotError badArguments when the client asks for anything else */
function stateDirIn(command: string | undefined): string {
  if (command === undefined) throw new PilotError(EXIT.badArguments, 'control needs --state DIR, or an SSH client that asks for it');
  const [stateDir, ...rest] = command.length > MAX_COMMAND ? [] : askedFor(wordsOf(command) ?? []);
  if (stateDir !== undefined && rest.length === 0) return stateDir;
  throw new PilotError(EXIT.badArguments, `this key may only join the agent of a pilot (${ASKED.join(' ')} DIR), not run ${JSON.stringify(command.slice(0, 200))}`);
}

const askedFor = (words: readonly string[]): readonly string[] => (ASKED.every((word, i) => words[i] === word) ? words.slice(ASKED.length) : []);

/**
 * Why this is not the agent's directory of a slot of this user; null when it is. Base, slot and agent's directory must be
 * this user's own and nobody else's to write: then nobody else can have laid a socket there.
 */
function faultOf(dir: string, uid: number, base: string | null): string | null {
  if (!isAbsolute(dir) || normalize(dir) !== dir || basename(dir) !== 'control') return 'is not STATEBASE/SLOT.HOST/control';
  const [slot = '', ...host] = basename(dirname(dir)).split('.');
  if (!ANY_SLOT_ID.test(slot) || !HOST_NAME.test(host.join('.'))) return 'is not STATEBASE/SLOT.HOST/control';
  const own = dirname(dirname(dir));
  if (base !== null && own !== normalize(base).replace(/(.)\/$/, '$1')) return `is not below ${base}`;
  for (const part of [own, dirname(dir), dir]) {
    const stat = lstatSync(part, { throwIfNoEntry: false });
    if (stat === undefined) return 'is not there: its slot is over, or runs on another node';
    if (!stat.isDirectory() || stat.uid !== uid || (stat.mode & 0o022) !== 0) return `: ${part} is not a directory of this user alone`;
  }
  return realpathSync(dir) === realpathSync(dirname(own)) + dir.slice(dirname(own).length) ? null : 'leads elsewhere';
}
