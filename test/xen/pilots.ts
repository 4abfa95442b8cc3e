/** Pilots in dom0, started as a batch system would: as an ordinary user, with the job's paper in a file of its own. */
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { CommandResult } from '../../src/control/ssh/remote.ts';
import type { Credentials, PilotMessage } from '../../src/pilot/protocol.ts';
import { BATCH_USER, PILOT_LOGS } from './boot-files.ts';
import { DOM0_MB, HOST_FROM_DOM0, type XenMachine } from './machine.ts';
import type { Service } from './service.ts';

const BUNDLE = fileURLToPath(new URL('../../dist/workspace-pilot.cjs', import.meta.url));
const PROGRAM = '/opt/workspace-pilot.cjs';
const CONFIG = '/etc/workspace-pilot.conf';
/** dom0's floor in MB. */
export const MIN_MB = 256;

/** What comes before a program's argv so that it runs as the batch user, in the same process. */
export const AS_BATCH_USER = ['setpriv', '--reuid', BATCH_USER, '--regid', BATCH_USER, '--init-groups', 'env', `HOME=/home/${BATCH_USER}`, `USER=${BATCH_USER}`];
/** How that user calls xl. */
export const XL = ['/usr/bin/sudo', '-n', '/usr/sbin/xl'];

export async function installPilot(machine: XenMachine): Promise<void> {
  await machine.write(PROGRAM, { file: BUNDLE }, 0o755);
  await machine.write(CONFIG, [
    '[logging]', `logfiledir: ${PILOT_LOGS}`, 'logfileprefix: pilot-',
    '[xen]', 'xmsudo: yes', 'xl: /usr/sbin/xl', `minmem: ${MIN_MB}`, `dom0_mem: ${DOM0_MB}`,
    '[systempaths]', 'sudo: /usr/bin/sudo',
    '[memory]', 'mechanism: xl',
    '[other]', 'lockfile: /var/tmp/workspace-pilot.lock', 'earlywaitratio: 0.5', 'driver: simulated', '',
  ].join('\n'));
}

/** A pilot's command line in dom0, as the batch user. */
export const pilotArgv = (...options: string[]): string[] => [...AS_BATCH_USER, '/usr/local/bin/node', PROGRAM, ...options, '--configpath', CONFIG];

export interface Pilot {
  readonly slot: string;
  readonly reserved: PilotMessage;
  /** What the process ended with. */
  readonly ended: Promise<CommandResult>;
  signal(name: 'TERM' | 'KILL'): Promise<void>;
}

export interface PilotOptions {
  readonly memoryMb: number;
  readonly durationS?: number;
  readonly graceS?: number;
}

/** Resolves when the pilot has said that its room is there. */
export async function reserve(machine: XenMachine, service: Service, { memoryMb, durationS = 900, graceS = 60 }: PilotOptions): Promise<Pilot> {
  const slot = `sl-${randomBytes(6).toString('hex')}`;
  const paper: Credentials = {
    slot, contacts: [`http://${HOST_FROM_DOM0}:${service.port}`], secret: randomBytes(16).toString('hex'), nonce: randomBytes(16).toString('hex'), channel: false,
  };
  const credentials = `/home/${BATCH_USER}/${slot}.json`;
  const pidFile = `/run/${slot}.pid`;
  await machine.write(credentials, JSON.stringify(paper), 0o600);
  await machine.must(['chown', BATCH_USER, credentials]);
  // The shell becomes the pilot, so its process id is the pilot's.
  const argv = ['sh', '-c', 'echo $$ > "$0"; exec "$@"', pidFile, ...pilotArgv(
    '--reserveslot', '--memory', `${memoryMb}`, '--duration', `${durationS}`, '--graceperiod', `${graceS}`, '--slotid', slot, '--part', '0', '--credentials', credentials, '--stdoutlog')];
  const ended = machine.run(argv, { timeoutMs: (durationS + graceS) * 1000 });
  // Whoever waits for it later is told; until then it is no unhandled failure.
  ended.catch(() => undefined);
  const early = ended.then(({ code, stdout, stderr }) => { throw new Error(`the pilot ended with ${code} before it had reserved anything:\n${stdout}${stderr}`); });
  const reserved = await Promise.race([service.heard(slot, 'reserved'), early]);
  if (reserved.code !== 0) throw new Error(`the pilot could not make room: ${reserved.text ?? ''}`);
  return {
    slot, reserved, ended,
    async signal(name) {
      await machine.must(['kill', `-${name}`, (await machine.read(pidFile) ?? '').trim()]);
    },
  };
}
